#!/bin/sh
# The main job on real code: add a project, ask it, switch to a second one, ask again. Nothing is staged: every line
# after a "$" is a command that you can type yourself, and its output is what it printed.
set -eu
cd "$(dirname "$0")/.."
top=$PWD
export GARDENER_HOME="${GARDENER_HOME:-$top/.demo/home}"
gardener="$top/.venv/bin/gardener"

say() { printf '\n\033[1m%s\033[0m\n' "$*" | if [ -t 1 ]; then cat; else sed 's/\x1b\[[0-9;]*m//g'; fi; }
run() {
  printf '\n$ gardener'
  for word in "$@"; do
    case $word in *[!A-Za-z0-9_./=:-]*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
  done
  printf '\n'
  "$gardener" "$@"
}
registered() { "$gardener" list --json | grep -F "\"root\": \"$1\"" >/dev/null; }
add() { # PATH NAME: the first time it is registered, after that only what has changed is indexed
  if registered "$1"; then run index --project "$2"; else run add "$1" --name "$2"; fi
}

say "1. Two projects: Gardener itself, and ${REPO:-the asyncio package of Python}"
if [ -n "${REPO:-}" ]; then
  second=$(cd "$REPO" && pwd -P)
  question="What does this project do?"
else
  # Real code of other people that is on every machine already, so that nothing has to be downloaded.
  second=$("$top/.venv/bin/python" -c 'import os, asyncio; print(os.path.realpath(os.path.dirname(asyncio.__file__)))')
  question="What happens to the other tasks of a TaskGroup when one of them fails?"
fi
second_name=$(basename "$second")
[ "$second_name" != gardener ] || second_name=second
add "$top" gardener
add "$second" "$second_name"

say "2. Ask the first"
run switch gardener
run ask "How does switching to another project stay atomic when something fails?"

say "3. Switch, and ask the second"
run switch "$second_name"
run ask "$question"

say "4. Find places directly, and see where you are"
run search "retry" --limit 3 --project gardener
run status

say "What next"
cat <<EOF
  make ui                                        the same in your browser
  export GARDENER_HOME="$GARDENER_HOME"
  $gardener ask "..."                            ask on; $gardener --help shows everything
  make demo REPO=/path/to/your/code              this demo on a repository of yours
EOF
