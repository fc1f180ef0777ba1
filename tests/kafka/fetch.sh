#!/usr/bin/env bash
# Brings a real Apache Kafka into target/kafka/libs by Maven. Does nothing when the copy there was made from this pom.xml.
# Prints the folder with the jars. Fails with what to install when Java 17 or Maven is missing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${BARNABAS_KAFKA_HOME:-$root/target/kafka}
stamp=$out/libs.stamp
wanted=$(sha256sum <"$here/pom.xml" | cut -d' ' -f1)

if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then
  echo "$out/libs"
  exit 0
fi

missing() {
  echo "fetch.sh: $1 is missing; $2" >&2
  exit 69
}
command -v java >/dev/null || missing java "install a Java runtime of version 17 or later, for example: apt-get install openjdk-17-jre-headless"
command -v mvn >/dev/null || missing mvn "install Apache Maven, for example: apt-get install maven"
major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
[[ ${major:-0} -ge 17 ]] || missing "Java 17" "the broker needs it, found version ${major:-unknown}"

mkdir -p "$out"
exec 9>"$out/fetch.lock"
flock 9 # two test binaries may come first at the same moment
if [[ ! -f $stamp || $(<"$stamp") != "$wanted" ]]; then
  rm -rf "$out/libs.new"
  mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$out/libs.new" >&2
  rm -rf "$out/libs"
  mv "$out/libs.new" "$out/libs"
  echo "$wanted" >"$stamp"
fi
echo "$out/libs"
