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
if ! scripts/dynamodb.sh; then
	if [ "${BREAKGLASS_REQUIRE_EMULATORS:-}" = 1 ]; then
		echo "test: the DynamoDB emulator is required here, and could not be built" >&2
		exit 1
	fi
	echo "test: no DynamoDB emulator; the tests that need it will be skipped and named below" >&2
fi
[ $# -gt 0 ] || echo "test: no C compiler, so without the race detector" >&2
exec go tool gotestsum --format pkgname-and-test-fails --hide-summary=output -- -timeout 40m "$@" ./...
