#!/bin/sh
# Builds the DynamoDB emulator of the tests, dynoxide, in this user's cache
# folder, which clones of this repository share. Does nothing when it is there,
# and may run several times at once. CARGO names another cargo.
set -eu

version=3.2.0 # as in internal/testenv/dynamodb.go
cargo=${CARGO:-cargo}
root=${XDG_CACHE_HOME:-$HOME/.cache}/breakglass/dynoxide-$version

fail() {
	printf 'dynamodb: %s\n' "$@" >&2
	exit 1
}

[ ! -x "$root/bin/dynoxide" ] || exit 0
command -v "$cargo" >/dev/null 2>&1 ||
	fail "$cargo not found: install Rust 1.88 or newer, or set CARGO to its path"

mkdir -p "$root"
# One build at a time: who finds the lock waits, and then finds the result.
# cargo has a lock of its own for the folder that it installs to.
echo "dynamodb: building the DynamoDB emulator of the tests in $root (once; a few minutes)" >&2
"$cargo" install --quiet --locked --root "$root" --version "$version" \
	--no-default-features --features native-sqlite,http-server,cli dynoxide-rs ||
	fail "could not build dynoxide $version: is the crate registry reachable, and is Rust 1.88 or newer?"
