package app

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func TestAServerWithoutAWSCredentialsSaysSo(t *testing.T) {
	for name, value := range map[string]string{"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_WEB_IDENTITY_TOKEN_FILE": ""} {
		t.Setenv(name, value)
	}
	serve := func() (*App, *logBuffer) {
		c, err := DevConfig("127.0.0.1:0", t.TempDir())
		require.NoError(t, err)
		c.STS.Issuer, c.STS.Region = "aws", "us-east-1"
		log := &logBuffer{}
		a, err := New(t.Context(), c, Options{Log: log.logger()})
		require.NoError(t, err)
		require.NoError(t, a.Start())
		t.Cleanup(func() { require.NoError(t, a.Stop(context.Background())) })
		require.Eventually(t, func() bool { return checkOf(t, a, "sts").Detail != "not known yet" }, 10*time.Second, time.Millisecond)
		return a, log
	}
	a, log := serve()
	assert.True(t, checkOf(t, a, "sts").OK, "it still records and alerts")
	assert.Contains(t, checkOf(t, a, "sts").Detail, "NO AWS CREDENTIALS")
	assert.Equal(t, 1, log.count("the server has no AWS credentials of its own"))

	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
	a, log = serve()
	assert.Equal(t, "the server has AWS credentials of its own", checkOf(t, a, "sts").Detail)
	assert.NotContains(t, log.String(), "canary-secret")
	assert.NotContains(t, log.String(), "no AWS credentials")
}

func TestMissingAWSCredentialsAreLoggedOnceNotEachMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		var works atomic.Bool
		w := &stsWatch{find: func(context.Context) error {
			if works.Load() {
				return nil
			}
			return os.ErrNotExist
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.run(&App{opts: Options{Log: log.logger()}})(ctx); close(done) }()
		time.Sleep(10*time.Minute + time.Second)
		assert.Equal(t, 1, log.count("no AWS credentials"))
		works.Store(true)
		time.Sleep(10 * time.Minute)
		assert.Equal(t, 1, log.count("has AWS credentials of its own now"))
		assert.NotContains(t, w.check().Detail, "NO AWS")
		cancel()
		<-done
	})
}

func TestDeliveriesOfRemovedSinksRaiseNoAlarmAboutTheirAge(t *testing.T) {
	c, err := DevConfig("127.0.0.1:0", t.TempDir())
	require.NoError(t, err)
	a, err := New(t.Context(), c, Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, a.close()) }()
	entry := breakglass.LogEntry{Timestamp: time.Now().Add(-time.Hour).UTC().Truncate(time.Microsecond), Event: breakglass.EntryDenied, Actor: "alice", Reason: "forbidden"}
	require.NoError(t, a.store.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error {
		return tx.Append(entry, nil, []string{"removed"})
	}))
	assert.Equal(t, 1.0, gathered(t, a, "breakglass_deliveries"), "they are still counted")
	assert.Zero(t, gathered(t, a, "breakglass_delivery_oldest_seconds"))
}
