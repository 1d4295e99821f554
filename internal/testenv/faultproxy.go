package testenv

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/url"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// FaultProxy passes connections on to an upstream until it is told to do worse.
// A fault replaces the one before it. Its methods are for one goroutine.
type FaultProxy struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
}

// Proxy starts a proxy on a free loopback port in front of upstream, which is
// an address such as 127.0.0.1:8000 or an http URL. It ends with the test.
func Proxy(t testing.TB, upstream string) *FaultProxy {
	t.Helper()
	if u, err := url.Parse(upstream); err == nil && u.Host != "" {
		upstream = u.Host
	}
	// One fault logs through zerolog's global logger rather than the proxy's own.
	zerolog.SetGlobalLevel(zerolog.Disabled)
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &FaultProxy{t: t, proxy: toxiproxy.NewProxy(server, "upstream", net.JoinHostPort("127.0.0.1", "0"), upstream)}
	p.start()
	t.Cleanup(p.proxy.Stop)
	return p
}

// URL returns the http URL of the proxy, which stays the same through Down and Heal.
func (p *FaultProxy) URL() string { return "http://" + p.proxy.Listen }

// Latency delays each answer.
func (p *FaultProxy) Latency(d time.Duration) {
	p.t.Helper()
	p.fault("latency", "downstream", attributes{"latency": d.Milliseconds()})
}

// Slow lets answers through at a rate in kilobytes a second, each connection
// for itself.
func (p *FaultProxy) Slow(kilobytes int) {
	p.t.Helper()
	p.fault("bandwidth", "downstream", attributes{"rate": kilobytes})
}

// Cut ends each connection after this many bytes of answers. With 0 a request
// is carried out and its caller never learns it.
func (p *FaultProxy) Cut(bytes int) {
	p.t.Helper()
	p.fault("limit_data", "downstream", attributes{"bytes": bytes})
}

// Reset answers each request with a TCP reset; upstream never sees it.
func (p *FaultProxy) Reset() {
	p.t.Helper()
	// Only connections that begin under this fault are reset rather than closed.
	p.proxy.Stop()
	p.fault("reset_peer", "upstream", attributes{"timeout": 0})
}

// Timeout swallows the answers and keeps the connections open: a request is
// carried out, and its caller waits for as long as it likes to.
func (p *FaultProxy) Timeout() {
	p.t.Helper()
	p.fault("timeout", "downstream", attributes{"timeout": 0})
}

// Down closes all connections and refuses new ones.
func (p *FaultProxy) Down() { p.proxy.Stop() }

// Heal ends the fault. Connections that Timeout held are closed.
func (p *FaultProxy) Heal() {
	p.t.Helper()
	p.proxy.Toxics.ResetToxics(context.Background())
	p.start()
}

type attributes map[string]any

func (p *FaultProxy) fault(kind, stream string, a attributes) {
	p.t.Helper()
	p.proxy.Toxics.ResetToxics(context.Background())
	toxic, err := json.Marshal(map[string]any{"type": kind, "stream": stream, "attributes": a})
	if err != nil {
		p.t.Fatalf("testenv: %v", err)
	}
	if _, err := p.proxy.Toxics.AddToxicJson(bytes.NewReader(toxic)); err != nil {
		p.t.Fatalf("testenv: %v", err)
	}
	p.start()
}

// start listens again after Stop, on the same port.
func (p *FaultProxy) start() {
	p.t.Helper()
	if p.proxy.Enabled {
		return
	}
	if err := p.proxy.Start(); err != nil {
		p.t.Fatalf("testenv: the fault proxy: %v", err)
	}
}
