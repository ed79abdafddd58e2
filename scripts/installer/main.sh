# shellcheck shell=bash
# The flow of both installers. The platform's own script has set INSTALLER and defines: default_data, check_system,
# python_commands, python_advice, git_works, git_advice, bash_rc_file, service_possible, service_folder, stop_service,
# model_runtime, model_runtime_here.

# shellcheck disable=SC2034 # the parts share their variables
# shellcheck source=scripts/installer/talk.sh
. "$INSTALLER/talk.sh"
# shellcheck source=scripts/installer/python.sh
. "$INSTALLER/python.sh"
# shellcheck source=scripts/installer/program.sh
. "$INSTALLER/program.sh"
# shellcheck source=scripts/installer/surroundings.sh
. "$INSTALLER/surroundings.sh"
# shellcheck source=scripts/installer/finish.sh
. "$INSTALLER/finish.sh"
# shellcheck source=scripts/installer/uninstall.sh
. "$INSTALLER/uninstall.sh"

DISK_MEGABYTES=2500
MEMORY_MEGABYTES_LEAST=3500
MEMORY_MEGABYTES_FOR_MODELS=7500

usage() {
  cat <<END
usage: $0 [options]

examples:
  $0                     install, asking before each thing outside the program folder
  $0 --dry-run           say everything that would be done, change nothing
  $0 --yes               install without questions; downloads no language model
  $0 --uninstall --keep-data

options:
  --from SOURCE     a checkout, a wheel, or what pip understands (default: the checkout this script lies in)
  --yes             yes to every question but those about gigabytes and about data
  --dry-run         change nothing
  --no-service      no background service
  --no-model        no language model
  --model NAME      download this language model (gardener models recommend names some)
  --python PATH     use this Python (3.11, 3.12 or 3.13)
  --uninstall       remove what was installed; asks before data is deleted, and keeps it with --yes
  --keep-data       with --uninstall: keep the data without asking
  --help

environment:
  GARDENER_PROGRAM  program folder (default: ~/.local/opt/gardener)
  GARDENER_HOME     data folder (default: $(default_data))

Run it again at any time: it does what is not done. No sudo is used. Exit codes: 0 done, 1 something failed, 2 usage.
END
}

wrong_usage() {
  printf 'error: %s\n  try: %s --help\n' "$1" "$0" >&2
  exit 2
}

options() {
  local value
  while [ $# -gt 0 ]; do
    case $1 in
      --from=* | --model=* | --python=*) value=${1#*=} ;;
      --from | --model | --python)
        [ $# -ge 2 ] || wrong_usage "$1 needs a value."
        value=$2
        ;;
    esac
    case $1 in
      --from | --from=*) FROM=$value ;;
      --model | --model=*) MODEL=$value ;;
      --python | --python=*) PYTHON_GIVEN=$value ;;
      --yes | -y) YES=yes ;;
      --dry-run) DRY_RUN=yes ;;
      --no-service) NO_SERVICE=yes ;;
      --no-model) NO_MODEL=yes ;;
      --uninstall) UNINSTALL=yes ;;
      --keep-data) KEEP_DATA=yes ;;
      --help | -h) usage; exit 0 ;;
      *) wrong_usage "$1 is not known." ;;
    esac
    case $1 in --from | --model | --python) shift ;; esac
    shift
  done
  [ -z "$KEEP_DATA" ] || [ -n "$UNINSTALL" ] || wrong_usage "--keep-data goes with --uninstall."
  [ -z "$NO_MODEL" ] || [ -z "$MODEL" ] || wrong_usage "--model and --no-model exclude each other."
}

check_common() { # memory in megabytes
  local free where
  if [ -n "${SUDO_USER:-}" ]; then fail "Do not run this with sudo: everything goes into your own home folder." "$0"; fi
  if [ "$1" -lt "$MEMORY_MEGABYTES_LEAST" ]; then
    fail "This machine has $1 MB of memory; Gardener needs about 4 GB for itself." "gardener help files"
  elif [ "$1" -lt "$MEMORY_MEGABYTES_FOR_MODELS" ]; then
    note "$1 MB of memory: searching works; language models of use need 8 GB or more."
  else
    already "$1 MB of memory"
  fi
  for where in "$PROGRAM" "${TMPDIR:-/tmp}"; do
    free=$(megabytes_free "$where")
    if [ "$free" -lt "$DISK_MEGABYTES" ] && [ ! -x "$PROGRAM/current/bin/gardener" ]; then
      fail "The disk of $where has $free MB free; $DISK_MEGABYTES MB are needed." "df -h $(shown "$where")"
    fi
  done
  already "$(megabytes_free "$PROGRAM") MB of disk free"
  if git_works; then already "git"; else note "git is not here; history and .gitignore rules of git are then not used. $(git_advice)"; fi
}

set_source() { # FROM as pip takes it, and SOURCE_KIND as gardener/upgrade/program.py names it
  FROM=${FROM:-$CHECKOUT}
  if [ -d "$FROM" ]; then
    FROM=$(cd "$FROM" && pwd) SOURCE_KIND=folder
    [ -f "$FROM/pyproject.toml" ] || fail "$FROM has no pyproject.toml: it is not a checkout of Gardener." "$0 --from PATH"
  elif [ -f "$FROM" ]; then
    FROM=$(cd "$(dirname "$FROM")" && pwd)/$(basename "$FROM") SOURCE_KIND=wheel
  else
    case $FROM in */* | *.whl) case $FROM in *://* | *@*) ;; *) fail "$FROM does not exist." "$0 --from PATH" ;; esac ;; esac
    SOURCE_KIND=index
  fi
}

finish() {
  local one
  if [ -n "$DRY_RUN" ]; then
    heading "Nothing was changed (--dry-run)."
    return 0
  fi
  if [ "${#PROBLEMS[@]}" -gt 0 ]; then
    heading "Gardener $VERSION is installed, but:" >&2
    for one in "${PROBLEMS[@]}"; do printf '  - %s\n' "$one" >&2; done
    exit 1
  fi
  heading "Gardener $VERSION is installed. Next: gardener add PATH, then: gardener ask \"...\""
}

main() {
  PROGRAM=${GARDENER_PROGRAM:-${HOME:?}/.local/opt/gardener}
  DATA=${GARDENER_HOME:-$(default_data)}
  COMMAND=$HOME/.local/bin/gardener
  CHECKOUT=$(cd "$INSTALLER/../.." && pwd)
  FROM='' MODEL='' PYTHON_GIVEN='' NO_SERVICE='' NO_MODEL='' UNINSTALL='' KEEP_DATA='' FLIPPED=''
  options "$@"
  case $PROGRAM in /*) ;; *) wrong_usage "GARDENER_PROGRAM must be an absolute path." ;; esac
  case $DATA in /*) ;; *) wrong_usage "GARDENER_HOME must be an absolute path." ;; esac
  # What would have pip or Python put things elsewhere, or find other things.
  unset PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_TARGET PIP_PREFIX PIP_USER PIP_REQUIRE_VIRTUALENV PIP_NO_BINARY
  export PIP_USER=0
  umask 077
  trap release EXIT
  trap 'printf "\nInterrupted. What ran before still runs; the same command goes on.\n" >&2; exit 130' INT TERM HUP
  if [ -n "$UNINSTALL" ]; then
    uninstall
    [ "${#PROBLEMS[@]}" -eq 0 ] || exit 1
    return 0
  fi
  heading "This machine"
  check_system
  set_source
  say
  say "  from    $FROM"
  say "  program $PROGRAM"
  say "  command $COMMAND"
  say "  data    $DATA (not touched)"
  [ -n "$DRY_RUN" ] || ask "Install Gardener there?" || fail "Nothing was changed." "$0 --yes"
  heading "Python"
  get_python
  heading "Program"
  install_program
  heading "Shell"
  put_on_path
  install_completion
  heading "Language model"
  choose_model
  heading "Background service"
  install_service
  heading "First health check"
  first_health_check
  finish
}
