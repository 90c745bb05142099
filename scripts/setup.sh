#!/usr/bin/env bash
# Everything that `make book` and `make test` need: a virtual environment, and what Debian must bring.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv}
python=${PYTHON:-python3}

"$python" - <<'PY' || { echo "nnvocab needs Python 3.11 to 3.13 to build the book; set PYTHON=/path/to/python3.11" >&2; exit 1; }
import sys
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PY

# System packages: a browser for the tests, and cairo and pango for manim.
need=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || need+=(chromium)
if command -v dpkg >/dev/null; then
  for package in libcairo2-dev libpango1.0-dev pkg-config fonts-dejavu-core; do
    dpkg -s "$package" >/dev/null 2>&1 || need+=("$package")
  done
fi
if [ ${#need[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${need[@]}" >/dev/null
  else
    echo "Please install these system packages (the tests need them; on Debian: apt-get install ${need[*]})" >&2
  fi
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --upgrade pip
"$venv/bin/python" -m pip install --quiet -r requirements.txt
"$venv/bin/python" -m pip install --quiet --no-deps -e .
# manim compiles against cairo and pango; where that fails the animations are shown as they are stored.
"$venv/bin/python" -m pip install --quiet 'manim==0.22.0' || echo "manim could not be installed: the animations will not be rendered again" >&2
