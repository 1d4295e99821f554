package api_test

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"

	"breakglass/internal/api"
)

// BenchmarkPoll compares a poll of the feed with nothing new with an empty chi
// handler behind the same authentication, over HTTP on loopback.
func BenchmarkPoll(b *testing.B) {
	s := start(b, options{quiet: true})
	s.invoke(b, alice, "prod") // one entry
	b.Run("empty handler", func(b *testing.B) {
		router := chi.NewRouter()
		router.Get("/v1/events", func(w http.ResponseWriter, r *http.Request) {
			if _, err := s.auth.Authenticate(r); err != nil {
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		srv := api.NewServer(router, logTo(s.log))
		go func() { _ = srv.Serve(listener) }()
		defer func() { _ = srv.Close() }()
		poll(b, "http://"+listener.Addr().String()+"/v1/events?after=1")
	})
	b.Run("nothing new", func(b *testing.B) { poll(b, s.url+"/v1/events?after=1") })
}

// BenchmarkPollHandler is the same without network and net/http.
func BenchmarkPollHandler(b *testing.B) {
	s := start(b, options{quiet: true})
	req, err := http.NewRequest(http.MethodGet, "/v1/events?after=0", nil)
	require.NoError(b, err)
	req.Header.Set("Authorization", "Bearer "+tokenOf(auditor))
	b.ReportAllocs()
	for b.Loop() {
		w := discard{header: http.Header{}}
		s.handler.ServeHTTP(w, req)
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func poll(b *testing.B, url string) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		client := &http.Client{Transport: &http.Transport{}}
		req, err := http.NewRequest(http.MethodGet, url, nil)
		require.NoError(b, err)
		req.Header.Set("Authorization", "Bearer "+tokenOf(auditor))
		for pb.Next() {
			resp, err := client.Do(req)
			if err != nil || resp.StatusCode != http.StatusOK {
				b.Errorf("%v %v", resp, err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
}
