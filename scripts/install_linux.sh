#!/usr/bin/env bash
# Installs Gardener for one user on Linux; docs/install.md says what each step does.
set -euo pipefail
INSTALLER=$(cd "$(dirname "$0")/installer" && pwd)

default_data() { printf '%s' "${XDG_DATA_HOME:-$HOME/.local/share}/gardener"; }

check_system() {
  local machine libc
  [ "$(uname -s)" = Linux ] || fail "This is $(uname -s), not Linux." "scripts/install_macos.sh"
  machine=$(uname -m)
  case $machine in
    x86_64 | aarch64) already "Linux on $machine" ;;
    *) fail "There are no builds of PyTorch and LanceDB for $machine." "uname -m" ;;
  esac
  # The libraries are built for glibc 2.28 and later (manylinux_2_28), and not for musl.
  libc=$(getconf GNU_LIBC_VERSION 2>/dev/null | awk '{ print $2 }') || true
  [ -n "$libc" ] || fail "This system has no glibc (Alpine?); there are no builds of the libraries for it." "ldd --version"
  if [ "${libc%%.*}" -lt 2 ] || { [ "${libc%%.*}" -eq 2 ] && [ "${libc#*.}" -lt 28 ]; }; then
    fail "glibc $libc is older than 2.28, which the libraries need." "ldd --version"
  fi
  check_common "$(awk '/^MemTotal:/ { printf "%d", $2 / 1024 }' /proc/meminfo)"
}

python_commands() { printf '%s\n' "$PYTHON_NAMES"; }

python_advice() {
  if command -v apt-get >/dev/null 2>&1; then
    printf 'sudo apt-get install python3 python3-venv'
  elif command -v dnf >/dev/null 2>&1; then
    printf 'sudo dnf install python3.12'
  else
    printf '%s --python PATH' "$0"
  fi
}

git_works() { command -v git >/dev/null 2>&1; }
git_advice() { printf "Your system's package manager has it."; }
bash_rc_file() { printf '%s' "$HOME/.bashrc"; }

service_possible() {
  [ -z "$DRY_RUN" ] || return 0
  systemctl --user show-environment >/dev/null 2>&1 && return 0
  left_out "background service: systemd's user manager does not answer here. Instead: gardener ui"
  return 1
}

service_folder() { printf '%s' "${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user"; }

stop_service() { # FILE
  run systemctl --user disable --now "$(basename "$1")" || note "systemd did not stop $(basename "$1")."
}

model_runtime() {
  if model_runtime_here; then printf 'Ollama is here.'; else printf 'Ollama is not here (ollama.com has it); it would run the model.'; fi
}
model_runtime_here() { command -v ollama >/dev/null 2>&1; }

# shellcheck source=scripts/installer/main.sh
. "$INSTALLER/main.sh"
main "$@"
