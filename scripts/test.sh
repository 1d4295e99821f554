#!/usr/bin/env bash
# Runs every test and names those that were skipped. Arguments go to go test.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! scripts/venv.sh; then
	if [ "${BREAKGLASS_REQUIRE_EMULATORS:-}" = 1 ]; then
		echo "test: the Python tools are required here, and could not be installed" >&2
		exit 1
	fi
	echo "test: no Python tools; the tests that need them will be skipped and named below" >&2
fi
dynamodb=yes
if ! scripts/dynamodb.sh; then
	dynamodb=
	if [ "${BREAKGLASS_REQUIRE_EMULATORS:-}" = 1 ]; then
		echo "test: the DynamoDB emulator is required here, and could not be built" >&2
		exit 1
	fi
	echo "test: no DynamoDB emulator; the tests that need it will be skipped and named below" >&2
fi
[ $# -gt 0 ] || echo "test: no C compiler, so without the race detector" >&2
tests() {
	go tool gotestsum --format pkgname-and-test-fails --hide-summary=output -- -timeout 40m "$@"
}
failed=0
tests "$@" ./... || failed=1
# What the server promises, it promises on either store.
if [ -n "$dynamodb" ]; then
	echo "test: the tests that work with either store, now on DynamoDB" >&2
	BREAKGLASS_TEST_STORE=dynamodb tests "$@" -skip "^TestReplicas" ./internal/{api,app,breakglass,cli,e2e} || failed=1
fi
exit $failed
