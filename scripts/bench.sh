#!/usr/bin/env bash
# Measures the service against yardsticks of the same run and prints one table.
# Arguments name parts: invoke credentials poll history webhook cli memory dynamodb; without any, all.
# A figure that misses its target is marked and doesn't fail the run.
# The first run builds histories of a million events and less below .cache/bench.
# dynamodb needs the emulator that `make dynamodb` builds.
set -euo pipefail
cd "$(dirname "$0")/.."
IFS='|'
run="^TestBench\$${*:+/^($*)\$}"
unset IFS
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
if ! BREAKGLASS_BENCH=1 BREAKGLASS_BENCH_TABLE="$dir/table" \
	${GO:-go} test -count=1 -timeout 20m -v -run "$run" ./internal/bench >"$dir/log" 2>&1; then
	cat "$dir/log" >&2
	exit 1
fi
cat "$dir/table"
