#!/bin/sh
# Sees to it that there is a Chromium with its driver for the tests that use a
# web page as a person does. As root on Debian it installs what is missing.
set -eu
have() { command -v chromium >/dev/null 2>&1 && command -v chromedriver >/dev/null 2>&1; }
! have || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "browser: installing chromium and its driver (once; about a minute)" >&2
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null || true
fi
have || {
	echo "browser: needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)" >&2
	exit 1
}
