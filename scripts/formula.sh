#!/bin/sh
# The Homebrew formula of a release on standard output: formula.sh HOMEPAGE URL ARCHIVE
# ARCHIVE is the file that URL serves (a source archive of the checkout), downloaded to this machine; its hash is taken
# from the file itself.
set -eu
[ $# -eq 3 ] || { echo "usage: $0 HOMEPAGE URL ARCHIVE >gardener.rb" >&2; exit 2; }
[ -f "$3" ] || { echo "error: $3 is not a file" >&2; exit 4; }
if command -v sha256sum >/dev/null 2>&1; then sum=$(sha256sum <"$3"); else sum=$(shasum -a 256 <"$3"); fi
exec awk -v homepage="$1" -v url="$2" -v sum="${sum%% *}" '
  { gsub(/@SHA256@/, sum) }
  # As text, because & and \ mean something to gsub.
  { line = $0; put("@HOMEPAGE@", homepage); put("@URL@", url); print line }
  function put(mark, text,   at) {
    at = index(line, mark)
    if (at) line = substr(line, 1, at - 1) text substr(line, at + length(mark))
  }
' "$(dirname "$0")/../packaging/homebrew/gardener.rb.in"
