"""Writes docs/configuration.md from the table of settings: python scripts/configuration_docs.py [--check]"""

from __future__ import annotations

import os
import sys

from gardener.settings_kind import Setting, toml_value
from gardener.settings_schema import SECTIONS, SETTINGS

TARGET = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "configuration.md")

INTRODUCTION = """\
<!-- Made by scripts/configuration_docs.py from gardener/settings_schema.py; change those and run it. -->
# Configuration

Nothing needs to be configured. What you do set comes from five places; each wins over those above it:

1. the default in the tables below;
2. your own file, `config.toml` in Gardener's data folder (`gardener config path` prints where);
3. the project's file, `.gardener.toml` in its folder;
4. the environment: `search.limit` is `GARDENER_SEARCH_LIMIT`;
5. an option on the command line, where the command has one.

```console
$ gardener config show --origin          # every value and where it comes from
$ gardener config get search.limit
$ gardener config set search.limit 20    # written to your own file; comments in it are kept
$ gardener config unset search.limit     # back to the default
$ gardener config validate               # mistakes, with file, line and what is allowed
```

With `--project NAME` these work on the project's file. A list takes several values
(`gardener config set index.exclude 'docs/old/' '*.min.js'`); in an environment variable they are separated by
commas, or written as a TOML list when one of them contains a comma.

The column "applies" says when a running app follows a change: **live** at once, **restart** at its next start
(`gardener config set` says so, too).

A setting that is not set is not the same as an empty one: `index.exclude = []` is a value, with an origin of
its own.

## The file

```toml
config_version = 1

[search]
limit = 20

[index]
exclude = ["docs/old/", "*.min.js"]
```

A mistake in a file or a variable stops the commands that use settings, with exit code 3 and the file, the
line, the key and what is allowed; `config`, `doctor` and `help` always work. An app that is running keeps its
last good settings and says so. A file with a larger `config_version` was written by a newer Gardener and is
not touched.

## What a project may set

A repository's `.gardener.toml` was perhaps not written by you. The column "project file" says what it may do:

- **yes**: any project may set it. "Only lower" and "only off" bind a project that you have not trusted, so
  that it cannot make Gardener work or read more than you allow. "Only add" binds every project: a list in
  `.gardener.toml` is added to yours.
- **trusted**: only a project that you have trusted.
- **no**: only you.

What may not be set is left out, and Gardener says so.
"""


def configuration_page() -> str:
    """The whole page, as docs/configuration.md must be."""
    parts = [INTRODUCTION]
    for section in SECTIONS:
        parts.append(f"\n## [{section}]\n\n| setting | default | allowed | project file | applies | what it does |\n")
        parts.append("|---|---|---|---|---|---|\n")
        parts += [_row(setting) for setting in SETTINGS if setting.section == section]
    return "".join(parts)


def _row(setting: Setting) -> str:
    limit = {"": "", "lower": ", only lower", "false": ", only off", "add": ", only add"}[setting.tighter]
    project = {"anywhere": "yes" + limit, "trusted": "trusted", "user": "no"}[setting.scope]
    applies = "live" if setting.live else "restart"
    default = f"`{toml_value(setting.default)}`"
    cells = [f"`{setting.key}`", default, setting.allowed(), project, applies, setting.description]
    return "| " + " | ".join(cells) + " |\n"


if __name__ == "__main__":
    from generated_page import main

    sys.exit(main(TARGET, configuration_page, __doc__))
