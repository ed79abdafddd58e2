#!/bin/bash
# Installs Gardener for one user on a Mac with Apple silicon; docs/install.md says what each step does. Written from
# Apple's manual pages and tried with stand-ins for the system's commands, not on a Mac.
set -euo pipefail
INSTALLER=$(cd "$(dirname "$0")/installer" && pwd)

MACHINE=arm64 # python_usable refuses a Python of another kind
MACOS_LEAST=14 # the builds of torch, mlx and onnxruntime in constraints.txt are macosx_14_0_arm64

default_data() { printf '%s' "$HOME/Library/Application Support/gardener"; }

check_system() {
  local version bytes
  [ "$(uname -s)" = Darwin ] || fail "This is $(uname -s), not macOS." "scripts/install_linux.sh"
  if [ "$(uname -m)" != arm64 ]; then
    if [ "$(sysctl -n hw.optional.arm64 2>/dev/null || echo 0)" = 1 ]; then
      fail "This terminal runs under Rosetta, as an Intel Mac would." "arch -arm64 /bin/bash $(shown "$0" "${ARGUMENTS[@]+"${ARGUMENTS[@]}"}")"
    fi
    fail "This is an Intel Mac. PyTorch and MLX have no current builds for it." "sysctl -n machdep.cpu.brand_string"
  fi
  version=$(sw_vers -productVersion) || fail "sw_vers does not say which macOS this is." "sw_vers"
  [ "${version%%.*}" -ge "$MACOS_LEAST" ] || fail "macOS $version is older than $MACOS_LEAST, which PyTorch and MLX need." "softwareupdate --list"
  already "macOS $version on $(sysctl -n machdep.cpu.brand_string 2>/dev/null || echo 'Apple silicon')"
  bytes=$(sysctl -n hw.memsize) || fail "sysctl does not say how much memory there is." "sysctl hw.memsize"
  check_common $((bytes / 1048576))
}

python_commands() { # /usr/bin/python3 asks to install Apple's developer tools when run without them, and is too old
  local name found
  for name in $PYTHON_NAMES; do
    found=$(command -v "$name" 2>/dev/null || true)
    [ -z "$found" ] || [ "$found" = /usr/bin/python3 ] || printf '%s\n' "$name"
  done
  for name in 3.11 3.12 3.13; do
    printf '%s\n' "/opt/homebrew/bin/python$name" "/Library/Frameworks/Python.framework/Versions/$name/bin/python$name"
  done
}

python_advice() {
  if command -v brew >/dev/null 2>&1; then printf 'brew install python@%s' "$PYTHON_TO_BRING"; else printf 'open https://www.python.org/downloads/macos/'; fi
}

git_works() { # /usr/bin/git opens a dialogue when Apple's developer tools are not there
  local found
  found=$(command -v git 2>/dev/null) || return 1
  [ "$found" != /usr/bin/git ] || xcode-select -p >/dev/null 2>&1
}
git_advice() { printf 'To have it: xcode-select --install'; }
bash_rc_file() { printf '%s' "$HOME/.bash_profile"; } # Terminal starts log-in shells

service_possible() { return 0; } # gardener says what launchd has against it
service_folder() { printf '%s' "$HOME/Library/LaunchAgents"; }

stop_service() { # FILE
  run launchctl bootout "gui/$(id -u)/$(basename "$1" .plist)" || note "launchd did not know $(basename "$1" .plist)."
}

model_runtime() {
  printf 'Models run in Gardener itself (MLX).'
  if command -v ollama >/dev/null 2>&1; then printf ' Ollama is here too: --runtime ollama has it run them.'; fi
}
model_runtime_here() { return 0; }

ARGUMENTS=("$@")
# shellcheck source=scripts/installer/main.sh
. "$INSTALLER/main.sh"
main "$@"
