# For the Python clients' run.sh: a virtual environment with exactly the packages named, made once. Sets $python.
# usage: python_with NAME PACKAGE==VERSION...
python_with() {
  local home="${CLIENTS:?where the clients are installed}/py-$1"
  shift
  python="$home/bin/python"
  if [[ ! -f $home/.packages || $(<"$home/.packages") != "$*" ]]; then
    command -v python3 >/dev/null || { echo "python3 is missing; install it with the module venv" >&2; exit 69; }
    rm -rf "$home"
    python3 -m venv "$home" >&2
    "$python" -m pip install --quiet --disable-pip-version-check "$@" >&2
    echo "$*" >"$home/.packages"
  fi
}
