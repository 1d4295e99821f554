package testenv

import (
	"os"
	"testing"
)

// envStore chooses the engine under the tests that any engine has to pass:
// sqlite, which is the default, or dynamodb.
const envStore = "BREAKGLASS_TEST_STORE"

// OnDynamoDB reports whether those tests run on DynamoDB. Package teststore
// makes the stores.
func OnDynamoDB(t testing.TB) bool {
	t.Helper()
	switch engine := os.Getenv(envStore); engine {
	case "", "sqlite":
		return false
	case "dynamodb":
		return true
	default:
		t.Fatalf("testenv: %s=%q: use sqlite or dynamodb", envStore, engine)
		return false
	}
}

// OnlySQLite skips a test that no other engine can run, and says why.
func OnlySQLite(t testing.TB, why string) {
	t.Helper()
	if OnDynamoDB(t) {
		t.Skip("only SQLite: " + why)
	}
}
