#!/bin/sh
# Sees to it that the tests have what a desktop has: Chromium with its driver,
# for pages that are used as a person uses them, and a keyring on a session bus.
# As root on Debian it installs what is missing.
set -eu
missing() {
	for program in chromium chromedriver dbus-run-session gnome-keyring-daemon; do
		command -v $program >/dev/null 2>&1 || echo $program
	done
}
[ -n "$(missing)" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "desktop: installing a browser and a keyring (once; about a minute)" >&2
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver dbus gnome-keyring; } >/dev/null || true
fi
[ -z "$(missing)" ] || {
	echo "desktop: missing:" $(missing) "(Debian: apt-get install chromium chromium-driver dbus gnome-keyring)" >&2
	exit 1
}
