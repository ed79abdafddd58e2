# shellcheck shell=bash
# What the installers say, ask and do. Everything that changes the machine goes through `run`, so that --dry-run is
# the same program with its hands tied. bash 3.2 and BSD tools are enough, because macOS brings those.

DRY_RUN=
YES=
PROBLEMS=() # what did not work although the rest did; told at the end, and then the exit code is 1

say() { printf '%s\n' "$*"; }
heading() { printf '\n%s\n' "$*"; }
already() { printf '  ok      %s\n' "$*"; }
note() { printf '  note    %s\n' "$*"; }
left_out() { printf '  skipped %s\n' "$*"; }

problem() { # WHAT NEXT-COMMAND
  printf '  FAILED  %s\n          try: %s\n' "$1" "$2" >&2
  PROBLEMS+=("$1 Try: $2")
}

fail() { # WHAT NEXT-COMMAND: nothing after this can work
  printf '\nerror: %s\n  try: %s\n' "$1" "$2" >&2
  exit 1
}

shown() { # the command as one could type it
  local word text=
  for word in "$@"; do
    case $word in
      '' | *[!A-Za-z0-9_./=:,+@%-]*) text="$text $(printf '%q' "$word")" ;;
      *) text="$text $word" ;;
    esac
  done
  printf '%s' "${text# }"
}

run() { # COMMAND...: does it, or under --dry-run only says so
  perform "\$ $(shown "$@")" "$@"
}

perform() { # TEXT FUNCTION...: as run, for what is no command that one could type
  if [ -n "$DRY_RUN" ]; then
    printf '  would   %s\n' "${1#\$ }"
    return 0
  fi
  printf '  %s\n' "$1"
  shift
  "$@"
}

quietly() { # COMMAND...: as run, but its output is shown only when it fails
  local code=0
  [ -z "$DRY_RUN" ] || { run "$@"; return 0; }
  printf '  $ %s\n' "$(shown "$@")"
  OUTPUT_FILE=$(mktemp "${TMPDIR:-/tmp}/gardener-install.XXXXXX")
  "$@" >"$OUTPUT_FILE" 2>&1 || code=$?
  [ "$code" -eq 0 ] || tail -n 40 "$OUTPUT_FILE" >&2
  forget_output
  return "$code"
}

forget_output() {
  [ -z "${OUTPUT_FILE:-}" ] || rm -f "$OUTPUT_FILE"
  OUTPUT_FILE=
}

visibly() { # COMMAND...: what it says is progress on a terminal, and of no use in a log
  if [ -t 1 ]; then run "$@"; else quietly "$@"; fi
}

ask() { # QUESTION [default y|n]: true for yes. Nobody there (end of input) is a no.
  local answer choices='[Y/n]'
  [ "${2:-y}" = y ] || choices='[y/N]'
  if [ -n "$DRY_RUN" ]; then
    printf '  would ask: %s\n' "$1"
    [ "${2:-y}" = y ]
    return
  fi
  if [ -n "$YES" ] && [ "${2:-y}" = y ]; then
    printf '  %s yes (--yes)\n' "$1"
    return 0
  fi
  printf '  %s %s ' "$1" "$choices"
  if ! read -r answer; then
    printf 'nobody answers: no\n'
    return 1
  fi
  case ${answer:-${2:-y}} in
    [Yy] | [Yy][Ee][Ss]) return 0 ;;
    *) return 1 ;;
  esac
}

megabytes_free() { # PATH, which need not exist yet
  local folder=$1
  while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
  df -Pk "$folder" | awk 'NR == 2 { printf "%d", $4 / 1024 }'
}

append_line() { # FILE LINE: at its end, on a line of its own
  local before=
  [ ! -s "$1" ] || [ -z "$(tail -c 1 "$1")" ] || before=$'\n'
  printf '%s%s\n' "$before" "$2" >>"$1"
}

drop_lines() { # FILE TEXT: without the lines that hold TEXT; the old file or the new one, whatever happens
  local file=$1 target next
  while [ -L "$file" ]; do # people keep these files in a repository and link to them: the link stays
    target=$(readlink "$file")
    case $target in /*) file=$target ;; *) file=$(dirname "$file")/$target ;; esac
  done
  next=$file.gardener-$$
  cp -p "$file" "$next" || return 1 # with its mode
  grep -vF -- "$2" "$file" >"$next" || [ $? -eq 1 ] || { rm -f "$next"; return 1; }
  mv -f "$next" "$file"
}
