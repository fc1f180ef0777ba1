#!/usr/bin/env bash
# What `make bench` does: builds what is measured, fetches the broker, runs the whole programme side by side, writes RESULTS.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

command -v haproxy >/dev/null || {
  echo "haproxy is missing: it is the bar that the gateway is held against; install Debian's package haproxy" >&2
  exit 69
}
tests/kafka/fetch.sh >/dev/null
cargo build --release -p barnabas -p barnabas-bench
target/release/barnabas-bench all --out tests/bench/RESULTS.md
