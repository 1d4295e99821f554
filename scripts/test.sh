#!/usr/bin/env bash
# Runs every test and names those that were skipped. Arguments go to go test.
set -euo pipefail
cd "$(dirname "$0")/.."
# What other programs the tests run: Python tools, a DynamoDB emulator, an
# identity provider, a browser and a keyring.
missing=
for tools in venv dynamodb oidc desktop; do
	scripts/$tools.sh && continue
	if [ "${BREAKGLASS_REQUIRE_EMULATORS:-}" = 1 ]; then
		echo "test: scripts/$tools.sh has to succeed here, and didn't" >&2
		exit 1
	fi
	echo "test: without the tools of scripts/$tools.sh; the tests that need them will be skipped and named below" >&2
	missing="$missing $tools"
done
[ $# -gt 0 ] || echo "test: no C compiler, so without the race detector" >&2
tests() {
	go tool gotestsum --format pkgname-and-test-fails --hide-summary=output -- -timeout 40m "$@"
}
failed=0
tests "$@" ./... || failed=1
# What the server promises, it promises on either store.
case " $missing " in
*" dynamodb "*) ;;
*)
	echo "test: the tests that work with either store, now on DynamoDB" >&2
	BREAKGLASS_TEST_STORE=dynamodb tests "$@" -skip "^TestReplicas" ./internal/{api,app,breakglass,cli,e2e} || failed=1
	;;
esac
exit $failed
