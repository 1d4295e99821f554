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
go mod tidy -diff
echo "lint: nothing found"
