package testenv

import (
	"sync"
	"testing"
)

// dynamoDBMain runs moto_server like motoMain, but carries out one request at a
// time. DynamoDB's conditional writes and transactions are serializable; moto
// checks conditions and applies writes without a lock, and its threads would
// break transactions (and now and then answer 500). A request is read in full
// before it takes the lock, so that a stalled client stops nobody else.
//
// moto's "dynamodb" extra is not installed: it is for PartiQL and table imports.
const dynamoDBMain = `
import io, threading
import moto.server
lock = threading.Lock()
class OneAtATime(moto.server.DomainDispatcherApplication):
    def __call__(self, environ, start_response):
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        with lock:
            return super().__call__(environ, start_response)
moto.server.DomainDispatcherApplication = OneAtATime
` + motoMain

// DynamoDB starts an emulator of DynamoDB with a process and an empty state of
// its own, and returns its endpoint. It ends with the test, as Moto does.
//
// It is not DynamoDB in these points, which tests must not rely on: it ignores
// ClientRequestToken (a repeated transaction is carried out again), accepts a
// filter on a key attribute and a transaction of more than 4 MB, never answers
// TransactionConflict or throttles, and reads its indexes consistently.
func DynamoDB(t testing.TB) string {
	t.Helper()
	return runMoto(t, Python(t), dynamoDBMain)
}

var sharedDynamoDB struct {
	once   sync.Once
	server *motoServer
	err    error
}

// SharedDynamoDB is DynamoDB with one emulator for all tests of this process;
// it ends when the process does. Each test makes a table with a name of its own
// and deletes it: a transaction copies every table that the emulator holds.
func SharedDynamoDB(t testing.TB) string {
	t.Helper()
	python := Python(t)
	shared := &sharedDynamoDB
	shared.once.Do(func() { shared.server, shared.err = startMoto(python, dynamoDBMain) })
	if shared.err != nil {
		t.Fatalf("testenv: %v", shared.err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last lines of moto, for all its tests:\n%s", shared.server.log)
		}
	})
	return shared.server.endpoint
}

// DynamoDBClientEnv returns the environment variables that lead an AWS client
// of another process to the emulator at endpoint, and to nothing else.
func DynamoDBClientEnv(endpoint string) []string {
	return []string{
		"AWS_ENDPOINT_URL_DYNAMODB=" + endpoint,
		"AWS_REGION=us-east-1",
		"AWS_DEFAULT_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=testing",
		"AWS_SECRET_ACCESS_KEY=testing",
		"AWS_EC2_METADATA_DISABLED=true",
	}
}
