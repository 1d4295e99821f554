package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Frames of HTTP/2 (RFC 9113, section 6), of which clients that behave send
// fewer.
const (
	frameHeaders, frameReset, frameSettings, framePing, frameGoAway, frameContinuation = 1, 3, 4, 6, 7, 9

	flagEndStream, flagAck, flagEndHeaders = 1, 1, 4

	settingMaxStreams = 3
)

// h2 is a connection of somebody who writes frames by hand.
type h2 struct {
	conn *tls.Conn
	next uint32 // stream
}

// speak opens a connection and answers the server's settings.
func (p *process) speak(t *testing.T, ca *authority) *h2 {
	t.Helper()
	conn, err := tls.Dial("tcp", p.addrOf(), &tls.Config{RootCAs: ca.pool, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.Equal(t, "h2", conn.ConnectionState().NegotiatedProtocol)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	require.NoError(t, err)
	h := &h2{conn: conn, next: 1}
	require.NoError(t, h.send(frame(frameSettings, 0, 0, nil)))
	require.NoError(t, h.send(frame(frameSettings, flagAck, 0, nil)))
	return h
}

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

func (h *h2) send(frames ...[]byte) error {
	var all []byte
	for _, f := range frames {
		all = append(all, f...)
	}
	_, err := h.conn.Write(all)
	return err
}

// get is the header of a request, without compression but for the static table
// (RFC 7541, appendix A).
func get(path, authorization string) []byte {
	b := []byte{0x82, 0x87} // :method: GET, :scheme: https
	text := func(s string) { b = append(append(b, byte(len(s))), s...) }
	b = append(b, 0x04) // :path
	text(path)
	b = append(b, 0x01) // :authority
	text("x")
	b = append(b, 0x0f, 0x08) // authorization: index 23 with a prefix of 4 bits
	text(authorization)
	return b
}

// request opens a stream.
func (h *h2) request(path, as string) (stream uint32, f []byte) {
	stream = h.next
	h.next += 2
	return stream, frame(frameHeaders, flagEndStream|flagEndHeaders, stream, get(path, "Bearer "+token(as)))
}

// receive reads frames until one is wanted; false when the connection ended.
func (h *h2) receive(want func(kind, flags byte, payload []byte) bool) bool {
	head := make([]byte, 9)
	for {
		if _, err := io.ReadFull(h.conn, head); err != nil {
			return false
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(h.conn, payload); err != nil {
			return false
		}
		if want(head[3], head[4], payload) {
			return true
		}
	}
}

// CVE-2023-44487: requests that are taken back at once cost the client nothing,
// and the server a handler each unless it notices.
func TestHTTP2RapidResetEndsTheConnectionAndHarmsNobody(t *testing.T) {
	ca := newAuthority(t, "e2e")
	p := site{dir: t.TempDir(), more: withTLS}.overTLS(t, ca, ca.issue(t, 12*time.Hour))
	for range 4 {
		h := p.speak(t, ca)
		ended := make(chan bool, 1)
		go func() { ended <- !h.receive(func(kind, _ byte, _ []byte) bool { return kind == frameGoAway }) }()
		for range 400 {
			var batch [][]byte
			for range 100 {
				stream, request := h.request("/v1/events?wait=30s", "sam")
				batch = append(batch, request, frame(frameReset, 0, stream, []byte{0, 0, 0, 8})) // CANCEL
			}
			if h.send(batch...) != nil {
				break
			}
		}
		select {
		case <-ended:
		case <-time.After(10 * time.Second): // an idle connection would end after 15
			require.FailNow(t, "40000 requests were taken and reset on one connection")
		}
		begin := time.Now()
		p.http.must(t, 200, user(0), "GET", "/v1/whoami", "")
		assert.Less(t, time.Since(begin), 5*time.Second)
	}
	p.poll(t, "idle", func() bool { return p.http.metric(t, "breakglass_http_requests_in_flight") == 1 })
	p.http.must(t, 201, user(0), "POST", "/v1/breakglass", invocation("prod", 600))
}

func TestHTTP2StreamsOfAConnectionAreLimited(t *testing.T) {
	ca := newAuthority(t, "e2e")
	p := site{dir: t.TempDir(), more: withTLS}.overTLS(t, ca, ca.issue(t, 12*time.Hour))
	h := p.speak(t, ca)
	limit := 0
	require.True(t, h.receive(func(kind, _ byte, payload []byte) bool {
		for ; kind == frameSettings && len(payload) >= 6; payload = payload[6:] {
			if binary.BigEndian.Uint16(payload) == settingMaxStreams {
				limit = int(binary.BigEndian.Uint32(payload[2:]))
			}
		}
		return limit > 0
	}))
	assert.Equal(t, 64, limit)
	head := p.http.feed(t, "0")
	for range 300 { // long polls that all wait
		_, request := h.request("/v1/events?wait=30s&after="+strconv.Itoa(len(head)), "sam")
		if h.send(request) != nil {
			break
		}
	}
	refused := 0
	h.receive(func(kind, _ byte, _ []byte) bool {
		if kind == frameReset {
			refused++
		}
		return kind == frameGoAway || refused >= 300-limit
	})
	assert.Positive(t, refused, "nothing bounds the streams of a connection")
	assert.LessOrEqual(t, p.http.metric(t, "breakglass_http_requests_in_flight"), float64(limit+1))
	p.http.must(t, 200, "sam", "GET", "/v1/events?limit=1", "")
}

// CVE-2024-24549 and its kin: a header that never ends, and control frames that
// each want an answer.
func TestHTTP2FloodsOfFramesHarmNobody(t *testing.T) {
	ca := newAuthority(t, "e2e")
	p := site{dir: t.TempDir(), more: withTLS}.overTLS(t, ca, ca.issue(t, 12*time.Hour))
	for name, tc := range map[string]struct{ first, flood []byte }{
		"continuation":      {frame(frameHeaders, flagEndStream, 1, get("/healthz", "x")), frame(frameContinuation, 0, 1, append([]byte{0x00, 0x01, 'a', 0x7f, 0xa1, 0x1f}, make([]byte, 4000)...))},
		"pings":             {nil, bytes.Repeat(frame(framePing, 0, 0, make([]byte, 8)), 500)},
		"settings":          {nil, bytes.Repeat(frame(frameSettings, 0, 0, nil), 500)},
		"an oversized head": {nil, frame(frameHeaders, flagEndStream|flagEndHeaders, 1, make([]byte, 1<<17))},
	} {
		t.Run(name, func(t *testing.T) {
			h := p.speak(t, ca)
			_ = h.send(tc.first) // the server may be through with us
			sent := 0
			for ; sent < 64<<20; sent += len(tc.flood) { // and nothing is read
				_ = h.conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
				if h.send(tc.flood) != nil {
					break
				}
			}
			if name != "settings" { // many of them are answered with one frame: nothing piles up
				assert.Less(t, sent, 64<<20, "the server takes as much as we send")
			}
			p.http.must(t, 200, user(0), "GET", "/v1/whoami", "")
			assert.Less(t, p.http.metric(t, "process_resident_memory_bytes"), 300e6)
		})
	}
}
