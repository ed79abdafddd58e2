#!/bin/sh
# Brings the programs that some tests drive: on Debian as root they are installed; elsewhere it says what is missing.
set -u
missing=""
for tool in bats chromium bwrap shellcheck tmux; do
  command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
[ -z "$missing" ] && exit 0
packages=$(printf '%s\n' "$missing" | sed 's/bwrap/bubblewrap/')
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" -eq 0 ]; then
  echo "Installing$packages"
  # shellcheck disable=SC2086
  if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null; then
    exit 0
  fi
fi
echo "Not here:$missing. The tests that need them will be skipped and say so." >&2
if [ -n "${GARDENER_REQUIRE_ALL:-}" ]; then
  echo "GARDENER_REQUIRE_ALL is set, so this is a failure." >&2
  exit 1
fi
exit 0
