# shellcheck shell=bash disable=SC2034
# A Python to make the environment with: one that is here, or, asked first, one that uv or Homebrew brings.

PYTHON_NAMES="python3.11 python3.12 python3.13 python3" # as pyproject.toml's requires-python; a test holds them equal
PYTHON_TO_BRING=3.12
OWN=.made-by-gardener # in the folders of the program folder that have a common name; without it they are somebody else's

own_folder() { # NAME below the program folder: makes it, or ends with an error when it is there and is not ours
  if [ -e "$PROGRAM/$1" ] && [ ! -e "$PROGRAM/$1/$OWN" ]; then
    fail "$PROGRAM/$1 is there already and is not Gardener's." "GARDENER_PROGRAM=PATH $0"
  fi
  run mkdir -p "$PROGRAM/$1"
  [ -n "$DRY_RUN" ] || : >"$PROGRAM/$1/$OWN"
}

python_usable() { # COMMAND: prints the version of one that works, whatever its name promises
  MACHINE=${MACHINE:-} "$1" - <<'END' 2>/dev/null
import os, platform, sys
if not (3, 11) <= sys.version_info[:2] < (3, 14):
    raise SystemExit(1)
wanted = os.environ["MACHINE"]
if wanted and platform.machine() != wanted:  # an Intel Python on Apple Silicon finds no libraries
    raise SystemExit(1)
import ctypes, ensurepip, sqlite3, ssl, venv
print(platform.python_version())
END
}

try_python() { # COMMAND; its own path is kept, not where it leads: Homebrew's changes with every patch release
  PYTHON_VERSION=$(python_usable "$1") && PYTHON=$(command -v "$1")
}

find_python() { # sets PYTHON and PYTHON_VERSION; PYTHON_GIVEN is what --python said
  local name
  if [ -n "${PYTHON_GIVEN:-}" ]; then
    try_python "$PYTHON_GIVEN" || fail "$PYTHON_GIVEN does not start, is not Python 3.11, 3.12 or 3.13, or lacks venv, ssl or sqlite3." "$0 --python PATH"
    return 0
  fi
  for name in "$PROGRAM"/python/*/bin/python"$PYTHON_TO_BRING" $(python_commands); do
    case $name in /*) [ -x "$name" ] || continue ;; *) command -v "$name" >/dev/null 2>&1 || continue ;; esac
    try_python "$name" && return 0
  done
  return 1
}

get_python() {
  find_python || bring_python
  already "Python $PYTHON_VERSION: $PYTHON"
}

bring_python() {
  local uv=
  note "There is no Python 3.11, 3.12 or 3.13 that works here."
  if command -v uv >/dev/null 2>&1; then
    uv=uv
  elif [ -x "$PROGRAM/uv/bin/uv" ]; then
    uv=$PROGRAM/uv/bin/uv
  elif command -v brew >/dev/null 2>&1; then
    ask "Have Homebrew install python@$PYTHON_TO_BRING?" || no_python
    run brew install "python@$PYTHON_TO_BRING" || fail "Homebrew could not install Python; what it said is above." "brew doctor"
    after_bringing
    return
  elif python_for_uv; then
    ask "Have pip bring uv (about 20 MB) into $PROGRAM/uv, to get a Python with it?" || no_python
    [ ! -e "$PROGRAM/uv/$OWN" ] || run rm -rf "$PROGRAM/uv"
    own_folder uv
    run "$PYTHON_FOR_UV" -m venv "$PROGRAM/uv" || fail "$PYTHON_FOR_UV cannot make a virtual environment." "$(python_advice)"
    run "$PROGRAM/uv/bin/python" -m pip install --quiet --disable-pip-version-check uv || fail "pip could not bring uv." "$(python_advice)"
    uv=$PROGRAM/uv/bin/uv
  else
    no_python
  fi
  ask "Have uv download Python $PYTHON_TO_BRING (about 30 MB) into $PROGRAM/python?" || no_python
  own_folder python
  run env UV_PYTHON_INSTALL_DIR="$PROGRAM/python" "$uv" python install "$PYTHON_TO_BRING" ||
    fail "uv could not bring Python $PYTHON_TO_BRING; what it said is above." "$(python_advice)"
  after_bringing
}

after_bringing() {
  if [ -n "$DRY_RUN" ]; then
    PYTHON=python$PYTHON_TO_BRING PYTHON_VERSION=$PYTHON_TO_BRING
  else
    find_python || fail "Python was brought, but it does not start." "$(python_advice)"
  fi
}

python_for_uv() { # any Python that starts will do
  for PYTHON_FOR_UV in $(python_commands) python3.14 python3.10; do
    command -v "$PYTHON_FOR_UV" >/dev/null 2>&1 || continue
    "$PYTHON_FOR_UV" -c 'import ensurepip, venv' >/dev/null 2>&1 && return 0
  done
  return 1
}

no_python() {
  fail "Python 3.11, 3.12 or 3.13 is needed (with venv, ssl and sqlite3)." "$(python_advice)"
}
