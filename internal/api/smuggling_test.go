package api_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/api"
)

// exchange sends bytes on one connection and returns the statuses of what came
// back until the server closed it.
func (s *server) exchange(t *testing.T, text string) (statuses []int) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	go func() { _, _ = io.WriteString(conn, text) }() // the server may hang up while we talk
	in := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			var timeout net.Error
			require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the connection stays open")
			return statuses
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		statuses = append(statuses, resp.StatusCode)
	}
}

// smuggled is an invocation that a proxy in front would have taken for part of
// another request.
func smuggled() string {
	sent := body() // its fields come in another order each time
	return fmt.Sprintf("POST /v1/breakglass HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		tokenOf(alice), len(sent), sent)
}

// Every request here means one thing to some proxies and another to net/http as
// it is: what follows it would be a request of its own.
func TestNoRequestIsSmuggledPastAProxy(t *testing.T) {
	hidden := smuggled()
	length := func(before string) string { return fmt.Sprintf("Content-Length: %d\r\n", len(before)+len(hidden)) }
	const end, chunked = "0\r\n\r\n", "Transfer-Encoding: chunked\r\n"
	head := "POST /v1/breakglass HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + tokenOf(bob) + "\r\nContent-Type: application/json\r\n"
	for name, text := range map[string]string{
		"TE and CL":                         head + chunked + length(end) + "\r\n" + end,
		"CL and TE":                         head + length(end) + chunked + "\r\n" + end,
		"two lengths":                       head + "Content-Length: 0\r\n" + length("") + "\r\n",
		"two equal lengths":                 head + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
		"a list of lengths":                 head + "Content-Length: 0, 0\r\n\r\n",
		"a length with a sign":              head + "Content-Length: +0\r\n\r\n",
		"a length with an underscore":       head + "Content-Length: 0_0\r\n\r\n",
		"an empty length":                   head + "Content-Length:\r\n\r\n",
		"a bare LF at the end of the head":  "GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\n\r\n",
		"bare LFs all over":                 "GET /healthz HTTP/1.1\nHost: x\n\n",
		"a length behind a bare LF":         "GET /healthz HTTP/1.1\r\nHost: x\r\n" + strings.TrimSpace(length("")) + "\nX: a\r\n\r\n",
		"TE behind a bare LF":               head + "X: a\n" + chunked + length(end) + "\r\n" + end,
		"a bare CR":                         "GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\r" + length("") + "\r\n",
		"a length in a folded line":         "GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\r\n " + length("") + "\r\n",
		"a length behind a tab":             "GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\r\n\t" + length("") + "\r\n",
		"TE in a folded line":               head + "Transfer-Encoding:\r\n chunked\r\n" + length(end) + "\r\n" + end,
		"white space before the first line": "GET /healthz HTTP/1.1\r\n " + length("") + "Host: x\r\n\r\n",
		"white space before the colon":      "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length : 1000\r\n\r\n",
		"TE with white space":               head + "Transfer-Encoding : chunked\r\n" + length(end) + "\r\n" + end,
		"TE that is no longer chunked":      head + "Transfer-Encoding: chunked, identity\r\n" + length(end) + "\r\n" + end,
		"TE of another name":                head + "Transfer-Encoding: xchunked\r\n" + length(end) + "\r\n" + end,
		"two TE":                            head + "Transfer-Encoding: identity\r\n" + chunked + "\r\n" + end,
		"TE with a vertical tab":            head + "Transfer-Encoding: \x0bchunked\r\n" + length(end) + "\r\n" + end,
		"TE in HTTP/1.0":                    strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1) + "Connection: keep-alive\r\n" + chunked + "\r\n",
		"TE and CL in HTTP/1.0":             strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1) + "Connection: keep-alive\r\nContent-Length: 0\r\n" + chunked + "\r\n",
		"an empty line in front":            "\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n" + length("") + "\r\n",
		"a head without a colon":            "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length 1000\r\n\r\n",
		"chunked":                           head + chunked + "\r\n" + end,
		"chunked, with an extension":        head + chunked + "\r\n0;a=b\r\n\r\n",
		"an extension with a bare LF":       head + chunked + "\r\n2;\nxx\r\n" + end,
		"a quoted extension":                head + chunked + "\r\n0;a=\"\r\n\r\n\"\r\n\r\n",
		"a chunk size beyond 64 bits":       head + chunked + "\r\n10000000000000000\r\n" + end,
		"a negative chunk size":             head + chunked + "\r\n-1\r\n" + end,
		"a chunk size with a prefix":        head + chunked + "\r\n0x0\r\n\r\n",
		"a chunk longer than it says":       head + chunked + "\r\n1\r\nxx\r\n" + end,
		"a trailer that claims a length":    head + chunked + "\r\n0\r\n" + length("") + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, options{})
			statuses := s.exchange(t, text+hidden)
			assert.LessOrEqual(t, len(statuses), 1, "%v", statuses)
			assert.Empty(t, s.events(t), "the request behind it was done")
		})
	}
}

func TestRequestsInARowAreAnsweredInTheirOrder(t *testing.T) {
	s := start(t, options{})
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n" }
	head, sent, _ := strings.Cut(smuggled(), "\r\n\r\n")
	chunked := strings.Replace(head, "Content-Length", "Transfer-Encoding: chunked\r\nX-Length", 1) +
		fmt.Sprintf("\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(sent), sent)
	assert.Equal(t, []int{200, 404, 201, 200, 409}, s.exchange(t, get("/healthz")+get("/nowhere")+smuggled()+get("/version")+chunked+get("/healthz")),
		"a body in chunks is the last thing on its connection")
	statuses := s.exchange(t, get("/healthz")+"GET /healthz HTTP/1.1\nHost: x\n\n"+get("/healthz"))
	assert.Equal(t, 200, statuses[0], "what came before an ambiguous request is answered")
	assert.NotContains(t, statuses[1:], 200)
	assert.Len(t, s.events(t), 1)
}

// However the bytes of a connection are cut into pieces, the same requests are
// let through.
func FuzzStrict(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n"), 5)
	f.Add([]byte("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 20)
	f.Add([]byte("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n"), 1)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		if size <= 0 {
			size = 1
		}
		whole, wholeOK := api.CheckHeads(data, max(len(data), 1))
		parts, partsOK := api.CheckHeads(data, size)
		if wholeOK != partsOK || !wholeOK && whole > parts {
			t.Fatalf("%q: %d %v at once, %d %v in pieces of %d", data, whole, wholeOK, parts, partsOK, size)
		}
		if i := bytes.IndexByte(data, '\n'); wholeOK && i >= 0 && (i == 0 || data[i-1] != '\r') {
			t.Fatalf("%q begins with an ambiguous line", data)
		}
	})
}
