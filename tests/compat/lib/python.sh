# For the Python clients' run.sh: a virtual environment with exactly the packages of a list, made once. Sets $python.
# usage: python_with NAME REQUIREMENTS
python_with() {
  local home="${CLIENTS:?where the clients are installed}/py-$1"
  python="$home/bin/python"
  if ! cmp -s "$2" "$home/.packages"; then
    command -v python3 >/dev/null || { echo "python3 is missing; install it with the module venv" >&2; exit 69; }
    rm -rf "$home"
    python3 -m venv "$home" >&2
    "$python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$2" >&2
    cp "$2" "$home/.packages"
  fi
}
