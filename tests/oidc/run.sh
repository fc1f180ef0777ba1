#!/usr/bin/env bash
# An OpenID Connect issuer that is not ours, on loopback and in the clear: `run.sh install`, then `run.sh PORT`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home="${CLIENTS:?where the clients are installed}/oidc"
if ! cmp -s "$here/package.json" "$home/.installed"; then
  command -v npm >/dev/null || { echo "npm is missing; install Node.js 20 or later with npm" >&2; exit 69; }
  rm -rf "$home"
  mkdir -p "$home"
  cp "$here/package.json" "$home/"
  (cd "$home" && npm install --silent --no-audit --no-fund --ignore-scripts >&2)
  cp "$here/package.json" "$home/.installed"
fi
[[ $1 == install ]] || exec node "$home/node_modules/.bin/oauth2-mock-server" -a 127.0.0.1 -p "$1"
