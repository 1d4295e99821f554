package app

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/config"
)

func TestConnectionsStayBelowTheDescriptors(t *testing.T) {
	for _, c := range []struct {
		limits                        config.Limits
		descriptors, total, perSource int
	}{
		{config.Limits{}, 1 << 20, 4096, 1024},
		{config.Limits{}, 1024, 768, 192},
		{config.Limits{}, 64, 32, 8},
		{config.Limits{}, 1, 1, 1},
		{config.Limits{Connections: 10_000, ConnectionsPerAddress: 10_000}, 65_536, 10_000, 10_000},
		{config.Limits{Connections: 10_000, ConnectionsPerAddress: 10_000}, 1024, 768, 768},
		{config.Limits{ConnectionsPerAddress: 7}, 1 << 20, 4096, 7},
	} {
		total, perAddress := connectionLimits(c.limits, c.descriptors)
		assert.Equal(t, []int{c.total, c.perSource}, []int{total, perAddress}, "%+v", c)
	}
}

func TestAnAddressWithTooManyConnectionsIsRefusedAndCounted(t *testing.T) {
	c, err := DevConfig("127.0.0.1:0", t.TempDir())
	require.NoError(t, err)
	c.Limits = config.Limits{ConnectionsPerAddress: 3}
	log := &logBuffer{}
	a, err := New(t.Context(), c, Options{Log: log.logger()})
	require.NoError(t, err)
	require.NoError(t, a.Start())
	defer func() { require.NoError(t, a.Stop(context.Background())) }()
	for range 3 {
		conn, err := net.Dial("tcp", a.Addr().String())
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
	}
	for range 2 {
		conn, err := net.Dial("tcp", a.Addr().String())
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, conn.Close())
	}
	assert.Equal(t, 2.0, gathered(t, a, "breakglass_connections_refused_total"))
	assert.Equal(t, 1, log.count("connections are refused"), "once a minute")
}
