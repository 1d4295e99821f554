package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/testenv"
)

// refuse is an answer of DynamoDB that no emulator gives.
func refuse(w http.ResponseWriter, body string) bool {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = fmt.Fprint(w, body) // the client may be gone
	return true
}

func told(t *testing.T, err error) *breakglass.Error {
	t.Helper()
	var e *breakglass.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, breakglass.CodeUnavailable, e.Code)
	return e
}

// TestThrottlingIsSaidAndNotTakenForHealth: each way in which DynamoDB says
// that it takes no more.
func TestThrottlingIsSaidAndNotTakenForHealth(t *testing.T) {
	reason := `{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","message":"x","CancellationReasons":[{"Code":"ThrottlingError","Message":"x"},{"Code":"None"}]}`
	for name, c := range map[string]struct{ op, answer string }{
		"a reason of a cancelled transaction": {"TransactWriteItems", reason},
		"a transaction":                       {"TransactWriteItems", `{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"x"}`},
		"a read":                              {"BatchGetItem", `{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"x"}`},
	} {
		t.Run(name, func(t *testing.T) {
			var left atomic.Int64
			o := newHook(t, newTable(t), func(w http.ResponseWriter, op, _ string) bool {
				return op == c.op && left.Add(-1) >= 0 && refuse(w, c.answer)
			})
			o.Patience = time.Second
			s := openTest(t, o)
			left.Store(5)
			require.NoError(t, appendOnly(t.Context(), s, "alice"), "for a moment")
			require.True(t, s.health.proven(time.Now()))
			left.Store(1 << 30)
			e := told(t, appendOnly(t.Context(), s, "alice"))
			require.Contains(t, e.Message, "takes no more calls at this moment. Nothing was changed")
			require.True(t, e.Temporary)
			require.False(t, e.Unknown)
			require.Equal(t, throttledFor, e.RetryAfter)
			require.False(t, s.health.proven(time.Now()))
		})
	}
}

// TestTheOutcomeIsUnknownOnlyWhenSomethingMayHaveBeenSent: who never had a
// connection has changed nothing.
func TestTheOutcomeIsUnknownOnlyWhenSomethingMayHaveBeenSent(t *testing.T) {
	o := newTable(t)
	o.PollEvery, o.CallTimeout, o.Patience = time.Hour, 300*time.Millisecond, time.Second
	var broken atomic.Bool
	cfg := testConfig()
	valid := cfg.Credentials
	cfg.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		if broken.Load() {
			return aws.Credentials{}, errors.New("there are no credentials")
		}
		return valid.Retrieve(ctx)
	})
	p := testenv.Proxy(t, o.Endpoint)
	o.Endpoint = p.URL()
	for name, c := range map[string]struct {
		before  func()
		unknown bool
	}{
		"no credentials":     {func() { broken.Store(true) }, false},
		"connection refused": {p.Down, false},
		"the answer is lost": {p.Timeout, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), cfg, o)
			require.NoError(t, err)
			t.Cleanup(func() { broken.Store(false); p.Heal(); require.NoError(t, s.Close()) })
			fresh := s.client.Options() // on an idle connection something would be sent
			fresh.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.DisableKeepAlives = true })
			s.client = ddb.New(fresh)
			// The guards are read before the fault begins.
			e := told(t, s.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error {
				c.before()
				return tx.Append(breakglass.LogEntry{Timestamp: noon, Event: breakglass.EntryDenied}, nil, nil)
			}))
			require.Equal(t, c.unknown, e.Unknown, e.Message)
			require.Equal(t, !c.unknown, strings.Contains(e.Message, "Nothing was changed"), e.Message)
			require.True(t, e.Temporary)
		})
	}
}

// TestAFaultyCallIsADefectOfTheServiceAndOfOneCaller: DynamoDB refuses the
// whole transaction without a word about whose part it is.
func TestAFaultyCallIsADefectOfTheServiceAndOfOneCaller(t *testing.T) {
	for name, answer := range map[string]string{
		"of the call": `{"__type":"com.amazon.coral.validate#ValidationException","message":"x"}`,
		"of an action": `{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","message":"x",` +
			`"CancellationReasons":[{"Code":"ValidationError","Message":"x"},{"Code":"None"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t, newHook(t, newTable(t), func(w http.ResponseWriter, op, body string) bool {
				return op == "TransactWriteItems" && strings.Contains(body, "mallory") && refuse(w, answer)
			}))
			one := func(who string) func() error { return func() error { return appendOnly(t.Context(), s, who) } }
			errs := together(t, s, one("alice"), one("mallory"), one("bob"))
			require.NoError(t, errors.Join(errs[0], errs[2]))
			e := told(t, errs[1])
			require.Contains(t, e.Message, "a defect of the service")
			require.False(t, e.Temporary)
			require.False(t, e.Unknown)
			require.Zero(t, e.RetryAfter)
		})
	}
}
