package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/config"
)

// recorder is a proxy before the emulator that counts calls and keeps
// transactions. What a server does by itself, whether anybody calls or not, it
// lets pass unseen: the looks of the watcher and of the sweeper.
type recorder struct {
	*httptest.Server
	mu     sync.Mutex
	calls  map[string]int
	writes [][]byte
}

func newRecorder(t testing.TB, endpoint string) *recorder {
	t.Helper()
	upstream, err := url.Parse(endpoint)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream); r.Out.Host = r.In.Host },
		ErrorLog: log.New(io.Discard, "", 0)} // a server that stops cancels its calls
	rec := &recorder{calls: map[string]int{}}
	rec.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the server sends it again
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		rec.note(operation, body)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(rec.Close)
	return rec
}

func (r *recorder) note(operation string, body []byte) {
	watcher := operation == "GetItem" && !bytes.Contains(body, []byte(`"ConsistentRead"`))
	sweeper := operation == "Query" && bytes.Contains(body, []byte(`{"S":"active"}`)) && !bytes.Contains(body, []byte("IndexName"))
	if watcher || sweeper {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls[operation]++
	if operation == "TransactWriteItems" {
		r.writes = append(r.writes, body)
	}
}

// at is the table behind the recorder.
func (r *recorder) at(table *config.DynamoDB) *config.DynamoDB {
	c := *table
	c.Endpoint = r.URL
	return &c
}

// transaction is the body of a TransactWriteItems.
type transaction struct {
	TransactItems []map[string]*action
}

// action is one action, with its fields as they came.
type action struct {
	TableName                 string
	Key                       map[string]attribute `json:",omitempty"`
	Item                      map[string]attribute `json:",omitempty"`
	ConditionExpression       string               `json:",omitempty"`
	ExpressionAttributeValues map[string]attribute `json:",omitempty"`
}

// attribute is a value by its type.
type attribute = map[string]any

// record returns the transactions of n invocations that follow one another on a
// new table.
func (e *emulator) record(t testing.TB, n int) []transaction {
	t.Helper()
	rec := newRecorder(t, e.endpoint)
	s := crowd(t, rec.at(e.table(t)), "")
	defer s.stop()
	c := dial(t, s.addr)
	for i := range n {
		c.must(t, http.StatusCreated, nth(int64(i)))
	}
	made := rec.transactions(t)
	require.Len(t, made, n, "an invocation is one transaction")
	return made
}

// transactions are those that were made, in order.
func (r *recorder) transactions(t testing.TB) []transaction {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	made := make([]transaction, len(r.writes))
	for i, body := range r.writes {
		require.NoError(t, json.Unmarshal(body, &made[i]))
		require.NotNil(t, made[i].head(), "%s", body)
	}
	return made
}

// head is the action that moves the head of the trail.
func (tx transaction) head() *action {
	for _, of := range tx.TransactItems {
		if put := of["Put"]; put != nil && put.Item["pk"]["S"] == "journal" && put.Item["sk"]["S"] == "head" {
			return put
		}
	}
	return nil
}

// withHead is the transaction with another head.
func (tx transaction) withHead(change func(head *action)) transaction {
	head := tx.head()
	return tx.with(func(put *action) bool { return put == head }, change)
}

// besideTrail is the transaction with its entry outside of the trail, where
// there is room for it.
func (tx transaction) besideTrail() transaction {
	entry := func(put *action) bool {
		pk, _ := put.Item["pk"]["S"].(string)
		return strings.HasPrefix(pk, "journal#")
	}
	return tx.with(entry, func(put *action) { put.Item["pk"] = attribute{"S": "beside"} })
}

// with is the transaction with some of its puts changed.
func (tx transaction) with(which func(put *action) bool, change func(put *action)) transaction {
	items := append([]map[string]*action(nil), tx.TransactItems...)
	for i, of := range items {
		if put := of["Put"]; put != nil && which(put) {
			other := *put
			other.Item = maps.Clone(put.Item)
			change(&other)
			items[i] = map[string]*action{"Put": &other}
		}
	}
	return transaction{items}
}

// at is the transaction on that table; the transaction itself is changed.
func (tx transaction) at(table string) transaction {
	for _, of := range tx.TransactItems {
		for _, a := range of {
			a.TableName = table
		}
	}
	return tx
}

// request is the transaction as it goes over the wire.
func (tx transaction) request() []byte {
	body, err := json.Marshal(struct {
		ClientRequestToken string
		transaction
	}{breakglass.NewID(), tx})
	if err != nil {
		panic(err) // it came as JSON
	}
	return amazon("TransactWriteItems", string(body))
}

// amazon is a call of DynamoDB. The emulator wants a signature and doesn't
// check it.
func amazon(operation, body string) []byte {
	return fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: breakglass\r\nX-Amz-Target: DynamoDB_20120810.%s\r\nX-Amz-Date: 20260101T000000Z\r\n"+
		"Authorization: AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=00\r\n"+
		"Content-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n\r\n%s", operation, len(body), body)
}
