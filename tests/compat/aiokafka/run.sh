#!/usr/bin/env bash
# aiokafka; see README.md here and ../README.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../lib/python.sh"
python_with aiokafka "$here/requirements.txt"
[[ $1 == install ]] || PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here/../lib" exec "$python" "$here/client.py" "$1"
