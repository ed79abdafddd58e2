#!/bin/sh
# Writes constraints.txt: every package of the test environment by name and version, without addresses or local builds.
set -eu
cd "$(dirname "$0")/.."
{
  echo "# Made by scripts/pin.sh: names and versions only, so that any package index will do."
  .venv/bin/python -m pip list --format=freeze --exclude-editable --disable-pip-version-check |
    sed 's/+.*//' | grep -viE '^(pip|setuptools|wheel|gardener)==' | LC_ALL=C sort -f
} > constraints.new
mv constraints.new constraints.txt
wc -l constraints.txt
