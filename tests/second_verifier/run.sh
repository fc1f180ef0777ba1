#!/usr/bin/env bash
# Runs the second verifier over good and tampered logs, in a Python environment of its own under target/; then the tools of C2SP logs in c2sp/,
# which need Go. Without an argument the gateway's unit tests write the logs; else they are in the folder that is named.
set -euo pipefail
given=${1:+$(realpath "$1")}
cd "$(dirname "${BASH_SOURCE[0]}")"
target=$(realpath -m "${CARGO_TARGET_DIR:-../../target}")
environment=$target/second_verifier
cases=${given:-$target/second_verifier_cases}
if [[ ! -x $environment/bin/python ]]; then
  python3 -m venv "$environment"
fi
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt
if [[ -z $given ]]; then
  rm -rf "$cases"
  BARNABAS_TEST_AUDIT_CASES=$cases cargo test --quiet -p barnabas --lib audit::log::tests::agreement
fi
PYTHONDONTWRITEBYTECODE=1 "$environment/bin/python" compare.py "$cases"

# The same logs before tools that others have written for C2SP logs.
(cd c2sp && go build -mod=readonly -o "$environment/c2sp" .)
"$environment/c2sp" "$cases"
