# The installers, with stand-ins for the system's commands; run by test_installers.py, which sets REAL_PYTHON and
# REAL_PACKAGES and more.
# BASH_UNDER_TEST=/path/to/bash runs the scripts by another bash, such as the 3.2 of macOS.
# shellcheck shell=bash disable=SC2030,SC2031,SC2016 # every test has a shell of its own; lines that are looked for hold $

setup_file() {
  REPOSITORY=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
  STAND_INS=$BATS_TEST_DIRNAME/stand_ins
  export REPOSITORY STAND_INS
}

setup() {
  export HOME="$BATS_FILE_TMPDIR/home of mine" SHELL=/bin/zsh CALLS=$BATS_TEST_TMPDIR/calls TOOLS=$BATS_TEST_TMPDIR/tools
  export STANDIN_OS=Darwin STANDIN_ARCH=arm64 STANDIN_PYTHON_ARCH=arm64 TMPDIR=$BATS_TEST_TMPDIR
  unset GARDENER_HOME GARDENER_PROGRAM XDG_DATA_HOME XDG_CONFIG_HOME ZDOTDIR SUDO_USER
  PROGRAM=$HOME/.local/opt/gardener DATA="$HOME/Library/Application Support/gardener"
  rm -rf "$HOME"
  mkdir -p "$HOME" "$TOOLS"
  : >"$CALLS"
  # Only what both systems have, so that nothing else is relied upon.
  for tool in awk bash basename cat chmod cp cut date df dirname du env git grep head id ln ls mkdir mktemp mv ps rm rmdir sh sleep tail tr; do
    ln -s "$(PATH=/usr/bin:/bin command -v "$tool")" "$TOOLS/$tool"
  done
  for tool in uname sw_vers sysctl readlink sed xcode-select launchctl systemctl; do ln -s "$STAND_INS/$tool" "$TOOLS/$tool"; done
  with_python
  REAL_PATH=$PATH
  PATH=$TOOLS
}

teardown() { PATH=$REAL_PATH; }

installed() { # version 0.1.0 without a service, made once
  if [ ! -d "$BATS_FILE_TMPDIR/installed" ]; then
    run macos --yes --no-service
    works
    PATH=$REAL_PATH cp -Rp "$HOME" "$BATS_FILE_TMPDIR/installed"
  fi
  PATH=$REAL_PATH rm -rf "$HOME"
  PATH=$REAL_PATH cp -Rp "$BATS_FILE_TMPDIR/installed" "$HOME"
}
with_python() { ln -sf "$STAND_INS/python-that-works" "$TOOLS/python3.12"; }
without_python() { PATH=$REAL_PATH rm -f "$TOOLS"/python3.12; }
macos() { "${BASH_UNDER_TEST:-bash}" "$REPOSITORY/scripts/install_macos.sh" "$@"; }
linux() {
  STANDIN_OS=Linux STANDIN_ARCH=x86_64 STANDIN_PYTHON_ARCH=x86_64
  PROGRAM=$HOME/.local/opt/gardener DATA=$HOME/.local/share/gardener
  ln -sf /usr/bin/getconf "$TOOLS/getconf"
  "${BASH_UNDER_TEST:-bash}" "$REPOSITORY/scripts/install_linux.sh" "$@"
}
everything() { (PATH=$REAL_PATH && find "$HOME" -printf '%P %y %m %l\n' | sort); }
called() { grep -qxF -- "$1" "$CALLS"; }
says() { [[ $output == *"$1"* ]] || { echo "not said: $1"; echo "$output"; return 1; }; }
works() { [ "$status" -eq 0 ] || { echo "$output"; return 1; }; }
fails() { [ "$status" -eq "${1:-1}" ] || { echo "exit code $status"; echo "$output"; return 1; }; }

@test "a dry run says everything and changes nothing" {
  before=$(everything)
  run macos --dry-run
  works
  says "would   mkdir -p"
  says "home of mine"
  says "would   gardener service install"
  says "would add to $HOME/.zshrc"
  says "Nothing was changed"
  [ "$before" = "$(everything)" ]
  [ ! -s "$CALLS" ]
}

@test "an installation, a second one that finds everything done, and an uninstallation that leaves nothing but data" {
  printf 'alias ll="ls -l"\n' >"$HOME/.zshrc"
  before=$(everything)
  run macos --yes
  works
  [ "$(readlink "$PROGRAM/current")" = versions/0.1.0 ]
  [ "$("$HOME/.local/bin/gardener" --version)" = "gardener 0.1.0" ]
  grep -q '^export PATH="$HOME/.local/bin:$PATH"  # added by gardener' "$HOME/.zshrc"
  head -n 1 "$HOME/.local/share/zsh/site-functions/_gardener" | grep -q '^#compdef gardener'
  called "gardener service install"
  says "gardener models pull qwen2.5-coder-7b"
  [ "$(grep -c 'models pull' "$CALLS")" -eq 0 ] # --yes is no yes to gigabytes
  [ ! -e "$PROGRAM/.staging" ]
  [ ! -e "$PROGRAM/.lock" ]
  [ "$(PATH=$REAL_PATH stat -c %a "$PROGRAM" "$PROGRAM/installation.json" | tr '\n' ' ')" = "700 600 " ]

  installed=$(everything)
  inode=$(ls -di "$PROGRAM/versions/0.1.0")
  run macos --yes
  works
  says "is complete"
  says "current leads to 0.1.0"
  [ "$installed" = "$(everything)" ]
  [ "$inode" = "$(ls -di "$PROGRAM/versions/0.1.0")" ]

  mkdir -p "$DATA"
  : >"$DATA/state.db"
  run macos --uninstall --keep-data --yes
  works
  called "gardener service uninstall"
  says "your data stays"
  [ -f "$DATA/state.db" ]
  PATH=$REAL_PATH rm -rf "$HOME/Library"
  PATH=$REAL_PATH find "$HOME" -mindepth 1 -type d -empty -delete
  [ "$before" = "$(everything)" ] || { everything; false; }
}

@test "the real program, installed on Linux, searches and is removed" {
  export STANDIN_REAL=$REAL_PACKAGES STANDIN_NO_SESSION=yes GARDENER_OLLAMA_URL='' HF_HUB_OFFLINE=1 SHELL=/bin/bash
  run linux --yes
  works
  says "its hash verified"
  says "systemd's user manager does not answer"
  PROGRAM=$HOME/.local/opt/gardener
  "$HOME/.local/bin/gardener" service install --dry-run | grep -qF "$PROGRAM/current/bin/python"
  grep -q '"kind": "folder"' "$PROGRAM/installation.json"
  [ -z "${EXPORTED_MODELS:-}" ] || cp -R "$EXPORTED_MODELS" "$HOME/.local/share/gardener/models"
  mkdir "$HOME/shop"
  printf 'def price_of_order(order):\n    return order.total\n' >"$HOME/shop/orders.py"
  "$HOME/.local/bin/gardener" add "$HOME/shop" --quiet
  "$HOME/.local/bin/gardener" search price_of_order --json | grep -q orders.py
  "$PROGRAM/current/bin/python" -c 'import time; time.sleep(600)' 3>&- & # what runs out of the program folder is ended
  run linux --uninstall < <(printf 'y\ny\ndelete\n')
  works
  [ ! -e "$HOME/.local/share/gardener" ]
  [ ! -e "$PROGRAM" ]
  [ ! -L "$HOME/.local/bin/gardener" ]
  [ ! -e "$HOME/.bashrc" ]
  [ -f "$HOME/shop/orders.py" ]
}

@test "another version is left to gardener upgrade, which is asked for and whose failure is told" {
  installed
  STANDIN_VERSION=0.2.0 run macos < <(printf 'y\nn\n')
  fails
  says "0.1.0 stays in force"
  STANDIN_VERSION=0.2.0 STANDIN_UPGRADE=undone run macos --yes --no-service
  fails
  says "0.1.0 is in force"
  STANDIN_VERSION=0.2.0 run macos --yes --no-service
  works
  called "gardener upgrade --from $REPOSITORY --index"
  [ "$("$HOME/.local/bin/gardener" --version)" = "gardener 0.2.0" ]
  [ ! -e "$PROGRAM/.lock" ]
  echo '{}' >"$PROGRAM/upgrade.json"
  run macos --yes
  fails
  says "An upgrade in $PROGRAM is under way or was cut off"
}

@test "what does not prove itself is not put in force; what does not start any more is replaced" {
  installed
  STANDIN_CONTENT=changed STANDIN_DOCTOR=fail run macos --yes
  fails
  says "What ran before still runs"
  STANDIN_CONTENT=changed STANDIN_SAYS=0.0.9 run macos --yes
  fails
  says "says gardener 0.0.9 instead of gardener 0.1.0"
  [ "$(readlink "$PROGRAM/current")" = versions/0.1.0 ]
  rm "$PROGRAM/versions/0.1.0/bin/gardener"
  run macos --yes --no-service
  works
  says "is not complete: it is made anew"
  rm "$PROGRAM/versions/0.1.0/bin/gardener"
  STANDIN_VERSION=0.2.0 run macos --yes
  works
  says "0.1.0 does not start any more"
  called "gardener service restart"
  grep -q '"previous": "0.1.0"' "$PROGRAM/installation.json"
}

@test "other contents of the same version do not replace the one that runs" {
  installed
  STANDIN_CONTENT=changed run macos --yes --no-service
  works
  [[ $(readlink "$PROGRAM/current") == versions/0.1.0+???????? ]]
  [ -x "$PROGRAM/versions/0.1.0/bin/gardener" ]
}

@test "no network: what pip said is shown, nothing is in force, and the next run makes the environment anew" {
  STANDIN_PIP=unreachable run macos --yes
  fails
  says "No matching distribution found for torch"
  [ ! -e "$PROGRAM/current" ]
  [ ! -e "$HOME/.local/bin/gardener" ]
  [ ! -e "$PROGRAM/.lock" ]
  run macos --yes
  works
  says "is not complete: it is made anew"
  [ "$("$HOME/.local/bin/gardener" --version)" = "gardener 0.1.0" ]
}

@test "Ctrl-C in the middle leaves what ran, and the same command goes on" {
  installed
  STANDIN_CONTENT=changed STANDIN_PIP=interrupted run macos --yes
  fails 130
  says "the same command goes on"
  [ -z "$(PATH=$REAL_PATH find "$TMPDIR" -name 'gardener-install.*')" ]
  [ "$(readlink "$PROGRAM/current")" = versions/0.1.0 ]
  [ ! -e "$PROGRAM/.lock" ]
  [ ! -e "$PROGRAM/.staging" ]
  STANDIN_CONTENT=changed run macos --yes --no-service
  works
  [[ $(readlink "$PROGRAM/current") == versions/0.1.0+???????? ]]
}

@test "a killed installer's lock is taken over, a living one's is not" {
  installed
  mkdir -p "$PROGRAM/.lock"
  echo 999999 >"$PROGRAM/.lock/pid"
  run macos --yes --no-service
  works
  mkdir "$PROGRAM/.lock"
  "$TOOLS/bash" -c 'exec -a install_macos.sh sleep 60' 3>&- &
  echo $! >"$PROGRAM/.lock/pid"
  run macos --yes
  kill $!
  fails
  says "Another installation is running"
}

@test "an Intel Mac, a terminal under Rosetta, an old macOS, little memory and another system are refused with a reason" {
  before=$(everything)
  STANDIN_ARCH=x86_64 STANDIN_INTEL=yes run macos --yes
  fails
  says "This is an Intel Mac"
  STANDIN_ARCH=x86_64 run macos --yes
  fails
  says "arch -arm64 /bin/bash"
  STANDIN_MACOS=13.7 run macos --yes
  fails
  says "macOS 13.7 is older than 14"
  STANDIN_MEMORY=2147483648 run macos --yes
  fails
  says "2048 MB of memory"
  STANDIN_OS=Linux run macos --yes
  fails
  says "scripts/install_linux.sh"
  STANDIN_OS=Linux STANDIN_ARCH=i686 run "${BASH_UNDER_TEST:-bash}" "$REPOSITORY/scripts/install_linux.sh" --yes
  fails
  says "no builds of PyTorch and LanceDB for i686"
  [ "$before" = "$(everything)" ]
}

@test "without a Python: Homebrew is asked to bring one, and its failure is told" {
  without_python
  run macos --yes
  fails
  says "open https://www.python.org"
  ln -s "$STAND_INS/brew" "$TOOLS/brew"
  STANDIN_NO_NETWORK=yes run macos --yes
  fails
  says "Homebrew could not install Python"
  run macos
  fails # nobody answers, so nothing happens
  run macos --yes --no-service
  works
  called "brew install python@3.12"
}

@test "without a Python that fits: pip brings uv, and uv brings one into the program folder" {
  without_python
  ln -s "$STAND_INS/python-too-new" "$TOOLS/python3"
  STANDIN_NO_NETWORK=yes run macos --yes
  fails
  says "uv could not bring Python"
  run macos --yes --no-service
  works
  says "$PROGRAM/python/cpython-3.12"
  run macos --uninstall --keep-data --yes
  works
  [ ! -e "$PROGRAM" ]
}

@test "Apple's stubs of python3 and git are not touched, and a Python for Intel is refused" {
  STANDIN_PYTHON_ARCH=x86_64 run macos --yes --python "$TOOLS/python3.12"
  fails
  without_python
  PATH=$TOOLS:/usr/bin # where these stubs are
  STANDIN_NO_XCODE=yes run macos --dry-run
  PATH=$TOOLS
  if grep -q "a dialogue" "$CALLS"; then false; fi
}

@test "a model is downloaded for --model, and a failed download does not cost the installation" {
  installed
  STANDIN_NO_NETWORK=yes run macos --yes --no-service --model qwen2.5-coder-7b
  fails
  says "Gardener 0.1.0 is installed, but:"
  says "gardener models pull qwen2.5-coder-7b"
  "$HOME/.local/bin/gardener" --version
  run macos --yes --no-service --model qwen2.5-coder-7b
  works
  called "gardener models use Qwen2.5-Coder-7B-Instruct-4bit"
}

@test "every question can be answered with no" {
  installed
  rm "$HOME/.zshrc"
  run macos < <(printf 'y\nn\nn\nn\nn\n')
  works
  [ ! -e "$HOME/.zshrc" ]
  if called "gardener service install"; then false; fi
  says "Later: gardener service install"
  run macos < <(printf 'y\ny\ny\ny\ny\n')
  works
  called "gardener models use Qwen2.5-Coder-7B-Instruct-4bit"
  called "gardener service install"
}

@test "a service that launchd refuses, as over ssh, is told with what to do" {
  installed
  STANDIN_SSH=yes run macos --yes
  fails
  says "no graphical session"
  says "The background service could not be installed"
}

@test "uninstalling without the program takes services by their files, and keeps data unless the word is typed" {
  installed
  agents=$HOME/Library/LaunchAgents
  mkdir -p "$agents" "$DATA"
  echo "<string>$PROGRAM/current/bin/python</string>" >"$agents/dev.gardener.app.plist"
  echo "<string>/elsewhere/current/bin/python</string>" >"$agents/dev.gardener.app-123456.plist"
  rm "$PROGRAM/current"
  run macos --uninstall < <(printf 'y\nyes\n')
  works
  called "launchctl bootout gui/$(id -u)/dev.gardener.app"
  [ ! -e "$agents/dev.gardener.app.plist" ]
  [ -e "$agents/dev.gardener.app-123456.plist" ]
  [ -d "$DATA" ]
  mkdir -p "$DATA/projects/x" "$DATA/photos"
  for name in state.db state.db-wal config.toml; do : >"$DATA/$name"; done
  run macos --uninstall < <(printf 'y\ndelete\n')
  works
  [ "$(ls -A "$DATA")" = photos ] # not Gardener's
  rmdir "$DATA/photos"
  : >"$DATA/state.db"
  run macos --uninstall < <(printf 'y\ndelete\n')
  works
  [ ! -e "$DATA" ]
}

@test "what is not the installer's is left alone: a command, a completion, other files of the program folder" {
  mkdir -p "$HOME/.local/bin" "$HOME/.local/share/zsh/site-functions" "$PROGRAM"
  echo mine >"$HOME/.local/bin/gardener"
  echo mine >"$HOME/.local/share/zsh/site-functions/_gardener"
  echo mine >"$PROGRAM/notes.txt"
  mkdir -p "$PROGRAM/python/mine" "$PROGRAM/uv/mine" "$PROGRAM/versions/3.12.1/mine"
  run macos --uninstall --yes # nothing was ever installed there
  works
  run macos --yes --no-service
  fails
  says "is not this installation's"
  says "is not Gardener's"
  run macos --uninstall --yes
  works
  [ "$(cat "$HOME/.local/bin/gardener" "$HOME/.local/share/zsh/site-functions/_gardener" "$PROGRAM/notes.txt" | tr '\n' ' ')" = "mine mine mine " ]
  [ -d "$PROGRAM/python/mine" ] && [ -d "$PROGRAM/uv/mine" ] && [ -d "$PROGRAM/versions/3.12.1/mine" ]
}

@test "a shell file that is a link stays one, with its own lines and mode" {
  installed
  PATH=$REAL_PATH rm "$HOME/.zshrc"
  mkdir "$HOME/dotfiles"
  printf 'a line without an end' >"$HOME/dotfiles/zshrc"
  chmod 644 "$HOME/dotfiles/zshrc"
  ln -s dotfiles/zshrc "$HOME/.zshrc"
  run macos --yes --no-service
  works
  [ "$(head -n 1 "$HOME/.zshrc")" = "a line without an end" ]
  run macos --uninstall --yes
  works
  [ -L "$HOME/.zshrc" ]
  [ "$(cat "$HOME/dotfiles/zshrc")" = "a line without an end" ]
  [ "$(PATH=$REAL_PATH stat -c %a "$HOME/dotfiles/zshrc")" = 644 ]
}

@test "wrong usage is exit code 2, and a source that is not Gardener is refused" {
  for options in "--keep-data" "--from" "--colour" "--model a --no-model"; do
    # shellcheck disable=SC2086
    run macos $options
    fails 2
  done
  run macos --help
  works
  says "--uninstall"
  mkdir "$HOME/other"
  run macos --yes --from "$HOME/other"
  fails
  says "it is not a checkout of Gardener"
  SUDO_USER=me run macos --yes
  fails
  says "Do not run this with sudo"
  GARDENER_PROGRAM=relative run macos --yes
  fails 2
}

@test "a path is read back from a shell's file as it was, whatever is in it" {
  local path shell variable
  # shellcheck source=scripts/installer/talk.sh
  . "$REPOSITORY/scripts/installer/talk.sh"
  # shellcheck source=scripts/installer/surroundings.sh
  . "$REPOSITORY/scripts/installer/surroundings.sh"
  PATH=$REAL_PATH
  for shell in bash zsh fish sh; do
    [ -n "$(command -v "$shell")" ] || continue
    SHELL=/bin/$shell
    for path in "$HOME/plain" "$HOME/a\"b\$x\`y\\z" "/mnt/\"d\$HOME\`e\`\\n ü"; do
      variable="x=$(in_home "$path")"
      [ "$shell" != fish ] || variable="set ${variable/=/ }"
      [ "$(HOME=$HOME $shell -c "$variable; printf %s \"\$x\"")" = "$path" ] || { echo "$shell $variable"; return 1; }
    done
  done
}

@test "a folder that was there keeps its mode, and what runs in it is found whatever its name is" {
  # shellcheck source=scripts/installer/talk.sh
  . "$REPOSITORY/scripts/installer/talk.sh"
  # shellcheck source=scripts/installer/program.sh
  . "$REPOSITORY/scripts/installer/program.sh"
  # shellcheck source=scripts/installer/uninstall.sh
  . "$REPOSITORY/scripts/installer/uninstall.sh"
  PATH=$REAL_PATH PROGRAM="$HOME/tools\\n of \"mine\"" UNINSTALL=''
  mkdir "$PROGRAM"
  chmod 755 "$PROGRAM"
  (umask 077 && take_lock)
  [ "$(stat -c %a "$PROGRAM" "$PROGRAM/versions" | tr '\n' ' ')" = "755 700 " ]
  mkfifo "$PROGRAM/waits"
  ln -s "$(command -v cat)" "$PROGRAM/cat"
  "$PROGRAM/cat" "$PROGRAM/waits" 3>&- &
  found=''
  for _ in {1..500}; do # until it has become the program that it is called by
    found=$(program_processes)
    [ -z "$found" ] || break
  done
  : >"$PROGRAM/waits"
  wait $!
  [[ $found == "$! "* ]] || { echo "found: $found"; return 1; }
}
