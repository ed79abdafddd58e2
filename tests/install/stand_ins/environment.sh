#!/bin/sh
# `python -m venv DIR` in milliseconds: what venv makes (pyvenv.cfg, a link to the interpreter), with the stand-in of pip.
set -eu
site=$1/lib/python$REAL_PYTHON_VERSION/site-packages
mkdir -p "$1/bin" "$site"
printf 'home = %s\ninclude-system-site-packages = false\n' "${REAL_PYTHON%/*}" >"$1/pyvenv.cfg"
ln -s "$REAL_PYTHON" "$1/bin/python"
cp -R "$STAND_INS/pip" "$site/pip"
