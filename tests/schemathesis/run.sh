#!/usr/bin/env bash
# schemathesis against the OpenAPI document that a bridge serves; see README.md here.
# usage: run.sh install | run.sh URL CLUSTER_ID TOPIC
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../compat/lib/python.sh"
python_with schemathesis "$here/requirements.txt"
[[ $1 != install ]] || exit 0

url=$1
# Names that are there: made-up ones would all end at the first look.
cat >schemathesis.toml <<TOML
[parameters]
"path.cluster_id" = "$2"
"path.topic_name" = "$3"
"path.topic" = "$3"
"path.broker_id" = 1
"path.partition_id" = 0
"path.partition" = 0
TOML
checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance
exec "$python" -m schemathesis.cli run "$url/openapi.json" --url "$url" --checks "$checks" --phases examples,coverage,fuzzing \
  --max-examples "${EXAMPLES:-20}" --seed 20260205 --request-timeout 30 --continue-on-failure --no-shrink \
  --suppress-health-check all --warnings off
