# shellcheck shell=bash disable=SC2034
# The program folder: one virtual environment for each version, `current` leading to the one that runs, and the record.
# A step is done when what it makes is there and works, not because it was once written down that it was.

layout() { "$PYTHON" "$INSTALLER/layout.py" "$@"; }

current_version() { # the folder's name below versions/, or nothing
  if [ -L "$PROGRAM/current" ]; then basename "$(readlink "$PROGRAM/current")"; fi
}

take_lock() {
  local holder
  if [ -e "$PROGRAM/upgrade.json" ] && [ -z "$UNINSTALL" ]; then
    fail "An upgrade in $PROGRAM is under way or was cut off." "gardener upgrade"
  fi
  mkdir -p "$PROGRAM/versions" # 0700 by the umask, where they are new; a folder of the user's own keeps its mode
  if ! mkdir "$PROGRAM/.lock" 2>/dev/null; then
    holder=$(cat "$PROGRAM/.lock/pid" 2>/dev/null || true)
    if [ -n "$holder" ] && ps -p "$holder" -o command= 2>/dev/null | grep -q install_; then
      fail "Another installation is running (process $holder)." "ps -p $holder"
    fi
    rm -rf "$PROGRAM/.lock" # its process is dead
    mkdir "$PROGRAM/.lock" || fail "$PROGRAM/.lock cannot be made." "ls -ld $(shown "$PROGRAM")"
  fi
  LOCKED=yes
  echo $$ >"$PROGRAM/.lock/pid"
}

release() { # at every end, Ctrl-C included: what is left is whole or has no name that anything reads
  forget_output
  [ -n "${LOCKED:-}" ] || return 0
  rm -rf "$PROGRAM/.staging" "$PROGRAM/.lock"
  rmdir "$PROGRAM/versions" "$PROGRAM" 2>/dev/null || true # when nothing came of it
  LOCKED=
}

build_wheel() { # sets WHEEL, VERSION, CONSTRAINTS and DIGEST, which says what both contain
  local staging=$PROGRAM/.staging beside
  rm -rf "$staging"
  mkdir -p "$staging/wheels"
  quietly "$PYTHON" -m venv "$staging/tools" ||
    fail "$PYTHON cannot make a virtual environment; what it said is above." "$(python_advice)"
  quietly "$staging/tools/bin/python" -m pip wheel --disable-pip-version-check --no-deps --wheel-dir "$staging/wheels" "$FROM" ||
    fail "$FROM could not be built; what pip said is above." "ls $(shown "$FROM")"
  WHEEL=$(ls "$staging"/wheels/gardener-*.whl 2>/dev/null) || fail "$FROM is not Gardener." "$0 --from PATH"
  VERSION=$(basename "$WHEEL" | cut -d- -f2)
  CONSTRAINTS=$staging/constraints.txt
  beside=$FROM
  [ -d "$beside" ] || beside=$(dirname "$beside")
  [ -f "$beside/constraints.txt" ] || beside=$CHECKOUT
  DIGEST=$(layout pins "$WHEEL" "$beside/constraints.txt" "$CONSTRAINTS") ||
    fail "There are no pins with $FROM." "ls $(shown "$beside")"
}

version_works() { # NAME: it was once whole, whoever made it, has the same files, and its command runs
  local folder=$PROGRAM/versions/$1
  layout ready "$PROGRAM" "$1" && layout same "$WHEEL" "$folder" &&
    [ "$("$folder/bin/gardener" --version 2>/dev/null)" = "gardener $VERSION" ]
}

choose_folder() { # sets NAME: the version, with a mark when other contents have that version and work
  local marked
  marked="$VERSION+$(printf '%.8s' "$DIGEST")"
  for NAME in "$VERSION" "$marked"; do
    if version_works "$NAME"; then return 0; fi
  done
  NAME=$VERSION
  if layout ready "$PROGRAM" "$VERSION" && "$PROGRAM/versions/$VERSION/bin/gardener" --version >/dev/null 2>&1; then
    NAME=$marked
  fi
}

make_version() {
  local folder=$PROGRAM/versions/$NAME
  if version_works "$NAME"; then
    already "$folder is complete"
    return 0
  fi
  if [ -e "$folder" ]; then note "$folder is not complete: it is made anew"; fi
  run rm -rf "$folder"
  quietly "$PYTHON" -m venv "$folder" || fail "$folder could not be made; what Python said is above." "$(python_advice)"
  say "  The libraries come now (about $DISK_MEGABYTES MB on the disk); this takes minutes."
  visibly "$folder/bin/python" -m pip install --disable-pip-version-check --no-input -c "$CONSTRAINTS" "$WHEEL" ||
    fail "The libraries could not be installed; what pip said is above. Nothing that ran before was touched." "$0"
  prove "$folder"
  FLIPPED=$(current_version) # a service that runs from a folder of this name has to start anew
}

prove() { # FOLDER: starts and is healthy, on a data folder of its own; nobody's data is opened by an unproven version
  local said
  said=$("$1/bin/gardener" --version 2>&1) || true
  [ "$said" = "gardener $VERSION" ] || fail "$1/bin/gardener says ${said:-nothing} instead of gardener $VERSION." "$0"
  quietly env GARDENER_HOME="$PROGRAM/.staging/home" "$1/bin/gardener" doctor ||
    fail "The new version's own check found errors; they are above. What ran before still runs." "$0"
}

upgrade_is_for_program() { # another version is in force and works: its data wants a backup and a trial first
  local before
  before=$(current_version)
  [ -n "$before" ] && [ "${before%%+*}" != "$VERSION" ] || return 1
  if "$PROGRAM/current/bin/gardener" upgrade --help >/dev/null 2>&1; then return 0; fi
  note "Version $before does not start any more: $VERSION takes its place, and its data as it is."
  return 1
}

upgrade_program() {
  local before
  before=$(current_version)
  ask "Upgrade from $before to $VERSION? gardener upgrade backs up and tries it on a copy first." || fail "$before stays in force." "$0"
  gardener upgrade --from "$FROM" --index ||
    fail "The upgrade was not done, or was undone; the reason is above. $(current_version) is in force." "gardener upgrade --check"
  [ "$(current_version)" != "$before" ] || fail "$before is still in force." "gardener upgrade --check"
}

flip() { # the last step, and one rename: before it the old version runs, after it the new one
  local before
  before=$(current_version)
  if [ "$before" = "$NAME" ] && layout ready "$PROGRAM" "$NAME"; then
    already "current leads to $NAME"
    return 0
  fi
  perform "note in $PROGRAM/installation.json that $NAME is ready" layout record "$PROGRAM" "$NAME" "$SOURCE_KIND" "$FROM"
  perform "\$ ln -s versions/$NAME $(shown "$PROGRAM/current") # by one rename" layout link "versions/$NAME" "$PROGRAM/current"
  FLIPPED=${before:-}
}

install_program() {
  if [ -n "$DRY_RUN" ]; then
    plan_program
    return 0
  fi
  take_lock
  build_wheel
  if upgrade_is_for_program; then
    upgrade_program
  else
    choose_folder
    make_version
    flip
  fi
  link_command
}

plan_program() {
  local version="VERSION"
  if [ -f "$FROM/gardener/__init__.py" ]; then version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$FROM/gardener/__init__.py"); fi
  if [ -n "$(current_version)" ] && [ "$(current_version | cut -d+ -f1)" != "$version" ]; then
    run gardener upgrade --from "$FROM" --index
    return 0
  fi
  run mkdir -p "$PROGRAM/versions"
  run "$PYTHON" -m pip wheel --no-deps "$FROM"
  if [ -d "$PROGRAM/versions/$version" ]; then note "versions/$version is there: kept if it has the same files and starts"; fi
  run "$PYTHON" -m venv "$PROGRAM/versions/$version"
  run "$PROGRAM/versions/$version/bin/python" -m pip install -c constraints.txt "gardener-$version.whl"
  run "$PROGRAM/versions/$version/bin/gardener" doctor
  run ln -s "versions/$version" "$PROGRAM/current"
  link_command
}

link_command() {
  local target=$PROGRAM/current/bin/gardener
  if [ "$(readlink "$COMMAND" 2>/dev/null)" = "$target" ]; then
    already "$COMMAND"
  elif [ -e "$COMMAND" ] || [ -L "$COMMAND" ]; then
    problem "$COMMAND is there already and is not this installation's, so it was left alone." "$target --help"
  else
    run mkdir -p "$(dirname "$COMMAND")"
    run ln -s "$target" "$COMMAND"
  fi
}
