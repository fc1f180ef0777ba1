#!/usr/bin/env bash
# franz-go; see README.md here and ../README.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home="${CLIENTS:?where the clients are installed}/go"
wanted=$(cat "$here/go.mod" "$here/go.sum" "$here/main.go" | sha256sum)
if [[ ! -f $home/.built || $(<"$home/.built") != "$wanted" ]]; then
  command -v go >/dev/null || { echo "go is missing; install Go 1.26 or later" >&2; exit 69; }
  mkdir -p "$home"
  (cd "$here" && go build -mod=readonly -o "$home/client" .) >&2
  echo "$wanted" >"$home/.built"
fi
[[ $1 == install ]] || exec "$home/client" "$1"
