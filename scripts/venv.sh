#!/bin/sh
# Makes or updates the Python environment of the tests: .cache/venv in the
# checkout, from test/requirements.txt. Does nothing when it is up to date, and
# may run several times at once. PYTHON names another interpreter.
set -eu

cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=.cache/venv
requirements=test/requirements.txt

fail() {
	printf 'venv: %s\n' "$@" >&2
	exit 1
}

command -v "$python" >/dev/null 2>&1 ||
	fail "$python not found: install Python 3.10 or newer, or set PYTHON to its path"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
	fail "$("$python" --version) is too old: Python 3.10 or newer is needed (PYTHON names another one)"
# Debian and Ubuntu ship venv without ensurepip; `python3 -m venv` then leaves
# a half-made directory behind.
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
	fail "this Python can't make virtual environments" \
		"on Debian and Ubuntu: sudo apt-get install python3-venv python3-pip"

mkdir -p .cache
# One run at a time. The lock belongs to the open file 9, which this shell
# keeps when the Python that took the lock is gone; it needs no flock(1).
exec 9>.cache/venv.lock
"$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'

stamp=$("$python" -c 'import hashlib, sys
print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$requirements")

if [ "$(cat "$venv/stamp" 2>/dev/null)" = "$stamp" ] && "$venv/bin/python" -c '' 2>/dev/null; then
	exit 0
fi

echo "venv: installing the Python tools of the tests into $venv (once; about a minute)" >&2
rm -f "$venv/stamp"
# An environment whose interpreter is gone can't be repaired, only replaced.
"$venv/bin/python" -c '' 2>/dev/null || rm -rf "$venv"
"$python" -m venv "$venv" || fail "could not make $venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" ||
	fail "could not install $requirements: is the package index reachable?"
# Written last: the environment counts only when it is complete.
printf '%s\n' "$stamp" >"$venv/stamp.new"
mv "$venv/stamp.new" "$venv/stamp"
