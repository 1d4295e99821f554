package netguard

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// listen accepts on every local address and counts connections.
func listen(t *testing.T) (port string, accepted *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "[::]:0")
	require.NoError(t, err)
	accepted = &atomic.Int32{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, accepted
}

// resolver asks a DNS server in this process, which answers A queries with the
// addresses in turn, and no AAAA.
func resolver(t *testing.T, answers ...string) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = pc.Close() })
	go serveDNS(pc, answers)
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

func serveDNS(pc net.PacketConn, answers []string) {
	buf := make([]byte, 512)
	for asked := 0; ; {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		end := 12
		for buf[end] != 0 {
			end += int(buf[end]) + 1
		}
		end += 5 // root label, type, class
		qtype := binary.BigEndian.Uint16(buf[end-4:])
		_ = n
		out := append([]byte{}, buf[:end]...)
		out[2], out[3] = 0x81, 0x80 // response, recursion available
		copy(out[6:12], []byte{0, 0, 0, 0, 0, 0})
		if qtype == 1 {
			a := netip.MustParseAddr(answers[min(asked, len(answers)-1)]).As4()
			asked++
			out[7] = 1
			out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
			out = append(out, a[:]...)
		}
		_, _ = pc.WriteTo(out, from)
	}
}

func dial(t *testing.T, g *Guard, addr string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := g.DialContext(ctx, "tcp", addr)
	if err == nil {
		_ = c.Close()
	}
	return err
}

func TestNoNotationReachesTheLoopback(t *testing.T) {
	port, accepted := listen(t)
	g, err := New(nil, nil, 20*time.Second)
	require.NoError(t, err)
	for _, host := range []string{
		"127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]", "localhost", "localhost.",
		"2130706433", "0177.0.0.1", "0x7f000001", "0x7f.0.0.1", "127.1", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
		"169.254.169.254", "[fd00:ec2::254]", "",
	} {
		require.Error(t, dial(t, g, host+":"+port), host)
	}
	for _, host := range []string{"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "localhost", "169.254.169.254", "[fd00:ec2::254]"} {
		require.ErrorIs(t, dial(t, g, host+":"+port), ErrRefused, host)
	}
	require.Zero(t, accepted.Load())
}

func TestAllowedAddressesAreDialled(t *testing.T) {
	port, accepted := listen(t)
	for _, tc := range []struct{ entry, host string }{
		{"127.0.0.1", "127.0.0.1"}, {"127.0.0.1:" + port, "127.0.0.1"}, {"127.0.0.0/8", "127.0.0.2"}, {"127.0.0.1", "[::ffff:127.0.0.1]"},
		{"[::1]:" + port, "[::1]"}, {"localhost:" + port, "localhost"},
	} {
		g, err := New([]string{tc.entry}, nil, 20*time.Second)
		require.NoError(t, err)
		require.NoError(t, dial(t, g, tc.host+":"+port), "%+v", tc)
	}
	require.Eventually(t, func() bool { return accepted.Load() == 6 }, time.Minute, time.Millisecond)
	g, err := New([]string{"127.0.0.1:1"}, nil, 20*time.Second)
	require.NoError(t, err)
	require.ErrorIs(t, dial(t, g, "127.0.0.1:"+port), ErrRefused)
}

func TestANameThatResolvesToThePrivateIsRefusedAtConnectTime(t *testing.T) {
	port, accepted := listen(t)
	g, err := New(nil, resolver(t, "127.0.0.1"), 20*time.Second)
	require.NoError(t, err)
	require.ErrorIs(t, dial(t, g, "hook.example.com:"+port), ErrRefused)
	require.Zero(t, accepted.Load())

	g, err = New([]string{"hook.example.com:" + port}, resolver(t, "127.0.0.1"), 20*time.Second)
	require.NoError(t, err)
	require.NoError(t, dial(t, g, "hook.example.com:"+port))
	require.ErrorIs(t, dial(t, g, "other.example.com:"+port), ErrRefused)
}

// A name may answer with a harmless address while somebody checks, and with
// another one when it counts. There is no check but the one at the connect.
func TestRebindingGainsNothing(t *testing.T) {
	port, accepted := listen(t)
	g, err := New([]string{"127.0.0.5"}, resolver(t, "127.0.0.5", "127.0.0.1", "169.254.169.254"), 20*time.Second)
	require.NoError(t, err)
	require.NoError(t, dial(t, g, "hook.example.com:"+port))
	require.ErrorIs(t, dial(t, g, "hook.example.com:"+port), ErrRefused)
	require.ErrorIs(t, dial(t, g, "hook.example.com:"+port), ErrRefused)
	require.Eventually(t, func() bool { return accepted.Load() == 1 }, time.Minute, time.Millisecond)
}

func TestAllowedNameDoesNotOpenMetadata(t *testing.T) {
	g, err := New([]string{"hook.example.com"}, resolver(t, "169.254.169.254"), 20*time.Second)
	require.NoError(t, err)
	require.ErrorIs(t, dial(t, g, "hook.example.com:80"), ErrRefused)
}

func TestLiteralsAreJudgedWithoutDialling(t *testing.T) {
	g, err := New([]string{"10.1.2.3:8080"}, nil, 20*time.Second)
	require.NoError(t, err)
	require.NoError(t, g.CheckLiteral("10.1.2.3", "8080"))
	require.NoError(t, g.CheckLiteral("hook.example.com", "443"))
	require.NoError(t, g.CheckLiteral("8.8.8.8", "443"))
	require.NoError(t, g.CheckLiteral("64:ff9b::808:808", "443"), "NAT64 of a public address")
	require.NoError(t, g.CheckLiteral("::ffff:10.1.2.3", "8080"), "another notation of what is allowed")
	require.ErrorIs(t, g.CheckLiteral("64:ff9b::a9fe:a9fe", "443"), ErrRefused)
	require.ErrorIs(t, g.CheckLiteral("10.1.2.3", "443"), ErrRefused)
	require.ErrorIs(t, g.CheckLiteral("::1", "443"), ErrRefused)
	require.ErrorIs(t, g.CheckLiteral("fe80::1%lo", "443"), ErrRefused)
}
