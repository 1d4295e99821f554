#!/usr/bin/env bash
# Runs every test and names those that were skipped. Arguments go to go test.
set -euo pipefail
cd "$(dirname "$0")/.."
# What other programs the tests run: Python tools, a DynamoDB emulator, an identity provider, a browser.
for tools in venv dynamodb oidc browser; do
	scripts/$tools.sh && continue
	if [ "${BREAKGLASS_REQUIRE_EMULATORS:-}" = 1 ]; then
		echo "test: scripts/$tools.sh has to succeed here, and didn't" >&2
		exit 1
	fi
	echo "test: without the tools of scripts/$tools.sh; the tests that need them will be skipped and named below" >&2
done
[ $# -gt 0 ] || echo "test: no C compiler, so without the race detector" >&2
exec go tool gotestsum --format pkgname-and-test-fails --hide-summary=output -- -timeout 40m "$@" ./...
