#!/bin/sh
# stage-wheels.sh PYTHON FOLDER: all wheels that a GPU machine without a network needs to run Osteon and its tests, for
# PYTHON's version and this processor. PyCUDA is built here, against a libcuda of ours: it finds the driver's there.
#
# There, with the same version of Python and FOLDER beside a checkout:
#   python3 -m venv .venv
#   .venv/bin/pip install --no-index --find-links FOLDER --editable '.[gpu,dev]'
#   touch .venv/.installed .venv/.testable && make test-gpu
set -eu
python=$1
folder=$2
cd "$(dirname "$0")/.."
mkdir -p "$folder"
"$python" -m tests.support.driver "$folder"
"$python" -m pip wheel --quiet --prefer-binary --find-links "$folder" --wheel-dir "$folder" '.[gpu,dev]' 'setuptools>=77' wheel
(cd "$folder" && sha256sum -- *.whl >SHA256SUMS)
du -sh "$folder"
