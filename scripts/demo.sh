#!/usr/bin/env bash
# The main job once through, by the real binaries: a server on loopback with
# SQLite and the development issuer; access by standing policy and by an approved
# request, then invoke, credentials, list, check, a refused second invocation,
# extend, close, the story of it, and the audit trail verified. Leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/bin:$PATH"
dir=$(mktemp -d)
server=
cleanup() {
	[ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
	rm -rf "$dir"
}
trap cleanup EXIT
fail() {
	printf '\ndemo: FAILED: %s\n' "$*" >&2
	[ ! -s "$dir/server.log" ] || { echo "--- server log" >&2; tail -n 20 "$dir/server.log" >&2; }
	exit 1
}

# Nothing of the user's own set-up may take part.
export HOME="$dir/home" XDG_CONFIG_HOME="$dir/config" XDG_CACHE_HOME="$dir/cache" XDG_STATE_HOME="$dir/state"
unset BGCTL_SERVER BGCTL_TOKEN BGCTL_CONFIG
mkdir -p "$HOME"

breakglassd --dev --listen 127.0.0.1:0 --data-dir "$dir/data" --addr-file "$dir/addr" 2>"$dir/server.log" &
server=$!
for _ in $(seq 100); do
	[ -s "$dir/addr" ] && break
	kill -0 "$server" 2>/dev/null || fail "the server did not start"
	sleep 0.1
done
[ -s "$dir/addr" ] || fail "the server did not listen within 10 seconds"
BGCTL_SERVER="http://$(cat "$dir/addr")"
export BGCTL_SERVER
token() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" "$dir/data/dev-tokens.json"; }
as() { # as WHO: the following commands act as that person
	BGCTL_TOKEN=$(token "$1")
	export BGCTL_TOKEN
	[ -n "$BGCTL_TOKEN" ] || fail "no token for $1"
}

bold= plain=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\033[1m' plain=$'\033[0m'; fi

# step WANTED-EXIT-CODE COMMAND...: prints the command and its answer, keeps stdout in $out.
step() {
	local want=$1 got=0
	shift
	printf '\n%s$ %s%s\n' "$bold" "${*@Q}" "$plain" | sed "s/'\([A-Za-z0-9_./:=-]*\)'/\1/g"
	out=$("$@" 2>"$dir/err") || got=$?
	[ -z "$out" ] || printf '%s\n' "$out"
	cat "$dir/err"
	[ "$got" = "$want" ] || fail "exit code $got, wanted $want"
}
has() { case $out in *"$1"*) ;; *) fail "the answer lacks $1" ;; esac; }

echo "breakglassd listens on $BGCTL_SERVER"
as alice
step 0 bgctl whoami
step 0 bgctl profiles

echo; echo "--- standing policy, then a request that somebody approves"
step 0 bgctl exec staging -- sh -c 'echo "a command sees AWS_REGION=$AWS_REGION"'
step 3 bgctl exec prod -- true
step 0 bgctl request prod --justification 'Add the index of INC-4710' --duration 30m -o json
has '"status": "pending"'
request=$(printf '%s' "$out" | sed -n 's/.*"request_id": *"\([0-9a-f]*\)".*/\1/p' | head -n 1)
[ ${#request} = 16 ] || fail "no request id"
step 3 bgctl approve "$request"
as sam
step 0 bgctl requests --to-approve
has "$request"
step 0 bgctl approve "$request" --comment 'Go ahead'
has approved
as alice
step 0 bgctl exec prod -- sh -c 'echo "a command has a credentials endpoint: ${AWS_CONTAINER_CREDENTIALS_FULL_URI:+yes}"'
has 'endpoint: yes'
step 0 bgctl cancel "$request"
step 3 bgctl credentials prod --no-cache

echo; echo "--- break-glass"
step 0 bgctl invoke prod --reason incident --justification 'Primary DB down, INC-4711' --duration 1h -o json
has '"status": "active"'
id=$(printf '%s' "$out" | sed -n 's/.*"event_id": *"\([0-9a-f]*\)".*/\1/p' | head -n 1)
[ ${#id} = 16 ] || fail "no event id"
step 0 sh -c 'bgctl credentials prod | sed -E "s/(\"(SecretAccessKey|SessionToken)\": *\")[^\"]*/\1(hidden by the demo)/"'
has AccessKeyId
has '"Version"'
step 0 bgctl exec prod -- sh -c 'echo "a command sees AWS_REGION=$AWS_REGION and a credentials endpoint: ${AWS_CONTAINER_CREDENTIALS_FULL_URI:+yes}"'
has 'endpoint: yes'
step 0 bgctl list
has "$id"
step 0 bgctl check "$id"
has active
step 4 bgctl invoke prod --reason incident --justification 'A second one for the same profile'
step 0 bgctl extend prod --justification 'The restore takes longer, INC-4711' --duration 30m
has 'once'
step 0 bgctl close "$id" --reason 'Failover done, database is back'
step 4 bgctl close "$id" --reason 'Closing it twice must not work'
step 0 bgctl check "$id" -o json
has '"status": "closed"'
step 0 bgctl why "$id"
has 'broke the glass'
as sam
step 0 bgctl events
has request.approved
has breakglass.invoked
has credentials.issued
has breakglass.denied
has breakglass.closed
step 0 bgctl verify

kill "$server"
wait "$server" || fail "the server did not stop cleanly"
server=
printf '\ndemo: done, every step answered as it should\n'
