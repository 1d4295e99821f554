#!/usr/bin/env bash
# The static checks. Each finding fails the run.
set -euo pipefail
cd "$(dirname "$0")/.."
unformatted=$(git ls-files --cached --others --exclude-standard '*.go' | xargs gofmt -l)
if [ -n "$unformatted" ]; then
	echo "not gofmt-ed:" >&2
	echo "$unformatted" >&2
	exit 1
fi
go vet ./...
go tool staticcheck ./...
go tool errcheck ./...
go tool go-errorlint ./...
# G304, files named by variables: the operator names them in the configuration,
# and people on their own command line. No caller of the server names any.
# Left out are helpers of tests, which start what tests need.
go tool gosec -quiet -exclude=G304 -exclude-dir=internal/testenv -exclude-dir=internal/store/storetest ./...
go mod tidy -diff
echo "lint: nothing found"
