#!/usr/bin/env bash
# Runs the second reader over the published vectors, in a Python environment of its own under target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
environment=${CARGO_TARGET_DIR:-../../target}/second_reader
if [[ ! -x $environment/bin/python ]]; then
  python3 -m venv "$environment"
fi
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
PYTHONDONTWRITEBYTECODE=1 "$environment/bin/python" reader.py
