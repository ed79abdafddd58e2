"""`gardener completion`: what bash, zsh and fish need to complete commands, options and project names."""

from __future__ import annotations

from gardener.cli.console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_NAMED = "switch show rename move remove restore"


def configure_completion(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener completion bash > ~/.local/share/bash-completion/completions/gardener
  gardener completion zsh > "${fpath[1]}/_gardener"
  gardener completion fish > ~/.config/fish/completions/gardener.fish
"""
    parser.add_argument(
        "shell", choices=("bash", "zsh", "fish", "names"), help="the shell; 'names' lists project names"
    )
    parser.set_defaults(run=completion)


def completion(args: argparse.Namespace, console: Console) -> int:
    from gardener.cli.commands import COMMANDS
    from gardener.cli.main import build_parser

    if args.shell == "names":
        from gardener.app import Gardener

        with Gardener(console.home) as gardener:
            for context in gardener.registry.list():
                console.line(context.name)
        return 0
    options = {
        name: sorted(
            option
            for action in build_parser(command)._actions
            for option in action.option_strings
            if option.startswith("--")
        )
        for name, command in COMMANDS.items()
    }
    console.line({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](options))
    return 0


def _bash(options: dict[str, list[str]]) -> str:
    cases = "\n".join(f"    {name}) words='{' '.join(listed)}' ;;" for name, listed in options.items())
    return f"""# bash completion for gardener
_gardener() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} words IFS=$'\\n'
  if [ "$COMP_CWORD" -eq 1 ]; then
    IFS=' '; COMPREPLY=($(compgen -W '{" ".join(options)}' -- "$current")); return
  fi
  case " {_NAMED} " in *" $previous "*) previous=--project ;; esac
  if [ "$previous" = --project ] || [ "$previous" = -p ]; then
    COMPREPLY=($(compgen -W "$(gardener completion names 2>/dev/null)" -- "$current"))
    [ ${{#COMPREPLY[@]}} -gt 0 ] && COMPREPLY=($(printf '%q\\n' "${{COMPREPLY[@]}}")); return
  fi
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  if [[ $current == -* ]]; then IFS=' '; COMPREPLY=($(compgen -W "$words" -- "$current"))
  else COMPREPLY=($(compgen -f -- "$current")); fi
}}
complete -o filenames -F _gardener gardener"""


def _zsh(options: dict[str, list[str]]) -> str:
    cases = "\n".join(f"    {name}) words=({' '.join(listed)}) ;;" for name, listed in options.items())
    return f"""#compdef gardener
local -a words_of_first words names
words_of_first=({" ".join(options)})
if (( CURRENT == 2 )); then compadd -a words_of_first; return; fi
local before=${{words[CURRENT-1]}} command=${{words[2]}} typed=$PREFIX
if [[ " {_NAMED} " == *" $before "* || $before == --project || $before == -p ]]; then
  names=("${{(@f)$(gardener completion names 2>/dev/null)}}"); compadd -a names; return
fi
case $command in
{cases}
esac
if [[ $typed == -* ]]; then compadd -a words; else _files; fi"""


def _fish(options: dict[str, list[str]]) -> str:
    lines = ["# fish completion for gardener", "complete -c gardener -f"]
    lines.append(f"complete -c gardener -n __fish_use_subcommand -a '{' '.join(options)}'")
    for name, listed in options.items():
        lines += [f"complete -c gardener -n '__fish_seen_subcommand_from {name}' -l {option[2:]}" for option in listed]
    lines.append(
        f"complete -c gardener -n '__fish_seen_subcommand_from {_NAMED}' -a '(gardener completion names 2>/dev/null)'"
    )
    lines.append("complete -c gardener -l project -s p -x -a '(gardener completion names 2>/dev/null)'")
    lines.append("complete -c gardener -n '__fish_seen_subcommand_from add move' -F")
    return "\n".join(lines)
