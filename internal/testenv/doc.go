// Package testenv finds and starts the real programs that tests run against:
// the binaries of this module, an AWS emulator and the AWS CLI. A fault proxy
// comes between a program and what it depends on.
//
// The Python tools live in .cache/venv of the checkout (`make venv`), or where
// the environment variable BREAKGLASS_VENV points. A test that needs a tool that
// is missing, or a file system that it may not mount, skips and says so; with
// BREAKGLASS_REQUIRE_EMULATORS=1 it fails instead, so that a CI run can't pass by
// skipping.
package testenv
