#!/usr/bin/env bash
# kafkajs; see README.md here and ../README.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home="${CLIENTS:?where the clients are installed}/node"
if ! cmp -s "$here/package.json" "$home/.installed"; then
  command -v npm >/dev/null || { echo "npm is missing; install Node.js 18 or later with npm" >&2; exit 69; }
  rm -rf "$home"
  mkdir -p "$home"
  cp "$here/package.json" "$home/"
  (cd "$home" && npm install --silent --no-audit --no-fund --ignore-scripts >&2)
  cp "$here/package.json" "$home/.installed"
fi
[[ $1 == install ]] || NODE_PATH="$home/node_modules" KAFKAJS_NO_PARTITIONER_WARNING=1 exec node "$here/client.js" "$1"
