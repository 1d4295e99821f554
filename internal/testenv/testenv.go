package testenv

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	envVenv    = "BREAKGLASS_VENV"
	envRequire = "BREAKGLASS_REQUIRE_EMULATORS"
)

// Root returns the directory of the module, where go.mod is.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("testenv: no go.mod in this directory or above it")
		}
		dir = parent
	}
}

// Require ends the test when ok is false: it skips, or fails when
// BREAKGLASS_REQUIRE_EMULATORS=1. The reason says what is missing.
func Require(t testing.TB, ok bool, reason string) {
	t.Helper()
	if ok {
		return
	}
	if os.Getenv(envRequire) == "1" {
		t.Fatalf("%s (%s=1 makes this a failure)", reason, envRequire)
	}
	t.Skip(reason)
}

// Python returns the path of the interpreter that has the tools of
// test/requirements.txt, or ends the test as Require does.
func Python(t testing.TB) string {
	t.Helper()
	path, problem := tool(Root(t), "python")
	requireTool(t, problem)
	return path
}

// AWSCLI returns the path of the AWS CLI, or ends the test as Require does.
func AWSCLI(t testing.TB) string {
	t.Helper()
	path, problem := tool(Root(t), "aws")
	requireTool(t, problem)
	return path
}

// Tool returns the path of another program of the Python environment, such as
// schemathesis, or ends the test as Require does.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, problem := tool(Root(t), name)
	requireTool(t, problem)
	return path
}

func requireTool(t testing.TB, problem string) {
	t.Helper()
	Require(t, problem == "", problem+" (run `make venv` to have this test run)")
}

// tool returns the path of a program of the Python environment, or what is
// wrong with it. The environment in the checkout has to be complete and of
// today's requirements; one that BREAKGLASS_VENV names is taken as it is.
func tool(root, name string) (path, problem string) {
	venv := os.Getenv(envVenv)
	if venv == "" {
		venv = filepath.Join(root, ".cache", "venv")
		if problem := checkStamp(venv, filepath.Join(root, "test", "requirements.txt")); problem != "" {
			return "", problem
		}
	}
	path = filepath.Join(venv, "bin", name)
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return "", fmt.Sprintf("needs %s, which is not in the Python environment %s", name, venv)
	}
	return path, ""
}

func checkStamp(venv, requirements string) (problem string) {
	want, err := os.ReadFile(requirements)
	if err != nil {
		return fmt.Sprintf("needs the Python tools of the tests, and their list can't be read: %v", err)
	}
	have, err := os.ReadFile(filepath.Join(venv, "stamp"))
	if err != nil {
		return "needs the Python tools of the tests, which are not installed"
	}
	sum := sha256.Sum256(want)
	if strings.TrimSpace(string(have)) != hex.EncodeToString(sum[:]) {
		return "needs the Python tools of the tests, and those installed are of another test/requirements.txt"
	}
	return ""
}
