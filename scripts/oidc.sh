#!/bin/sh
# Installs the OpenID Connect provider that some tests log in at: test/oidc in
# .cache/oidc, from its lock file. Does nothing when it is up to date.
set -eu
cd "$(dirname "$0")/.."
fail() {
	printf 'oidc: %s\n' "$@" >&2
	exit 1
}
command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || fail "needs node and npm (Debian and Ubuntu: apt-get install nodejs npm)"
stamp=$(cat test/oidc/package.json test/oidc/package-lock.json test/oidc/provider.mjs | sha256sum | cut -d' ' -f1)
dir=.cache/oidc
[ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ] || exit 0
echo "oidc: installing the identity provider of the tests into $dir (once; some seconds)" >&2
mkdir -p .cache
# Another run may do the same: each installs beside, and the last one's stays.
new=$(mktemp -d .cache/oidc.XXXXXX)
trap 'rm -rf "$new"' EXIT
cp test/oidc/package.json test/oidc/package-lock.json test/oidc/provider.mjs "$new"
(cd "$new" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >&2) || fail "could not install test/oidc: is the package registry reachable?"
printf '%s\n' "$stamp" >"$new/stamp"
chmod 755 "$new"
rm -rf "$dir"
mv "$new" "$dir"
