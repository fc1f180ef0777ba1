#!/usr/bin/env bash
# Python requests against a bridge; see README.md here.
# usage: run.sh install | run.sh URL TOPIC GROUP
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../compat/lib/python.sh"
python_with requests "$here/requirements.txt"
[[ $1 != install ]] || exit 0
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$here/client.py" "$@"
