package awsiam_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn/awsiam"
	"breakglass/internal/breakglass"
)

func TestASlowSTSIsGivenUpAndTheNonceStaysGood(t *testing.T) {
	w := newWorld(t)
	alice := w.sts.User("/", "alice")
	hang := make(chan struct{})
	w.sts.Instead(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})
	c := config
	c.Endpoint = w.sts.URL
	hasty, err := awsiam.New(c, awsiam.Deps{Keys: w.keys, Store: w.store, Now: w.now, Timeout: 50 * time.Millisecond})
	require.NoError(t, err)
	p := sign(t, alice, w.honest())
	_, err = hasty.Login(t.Context(), p)
	e := breakglass.AsError(err)
	assert.Equal(t, breakglass.CodeUnavailable, e.Code)
	assert.True(t, e.Temporary && e.RetryAfter > 0)
	close(hang)
	hasty.Close()
	w.sts.Instead(nil)
	w.admitted(w.login, p)
}

// Callers whom nobody knows yet make the server ask STS: how many at once is
// bounded.
func TestLoginsUnderWayAreBounded(t *testing.T) {
	w := newWorld(t)
	alice := w.sts.User("/", "alice")
	hang, arrived := make(chan struct{}), make(chan struct{}, awsiam.MaxAsking)
	w.sts.Instead(func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-hang })
	done := make(chan error, awsiam.MaxAsking)
	for range awsiam.MaxAsking {
		p := sign(t, alice, w.honest())
		go func() { _, err := w.login.Login(context.Background(), p); done <- err }()
	}
	for range awsiam.MaxAsking {
		<-arrived
	}
	w.refused(w.login, sign(t, alice, w.honest()), breakglass.CodeUnavailable, "another way in")
	assert.Len(t, w.sts.Seen(), awsiam.MaxAsking)
	close(hang)
	for range awsiam.MaxAsking {
		assert.Error(t, <-done)
	}
	w.sts.Instead(nil)
	w.admitted(w.login, sign(t, alice, w.honest()))
}

type brokenStore struct{}

func (brokenStore) Update(context.Context, breakglass.Keys, func(breakglass.Tx) error) error {
	return errors.New("the disk is gone")
}

func TestWithoutTheStoreNobodyLogsIn(t *testing.T) {
	w := newWorld(t)
	alice := w.sts.User("/", "alice")
	c := config
	c.Endpoint = w.sts.URL
	l, err := awsiam.New(c, awsiam.Deps{Keys: w.keys, Store: brokenStore{}, Now: w.now})
	require.NoError(t, err)
	defer l.Close()
	w.refused(l, sign(t, alice, w.honest()), breakglass.CodeUnavailable, "store")
}
