package signin

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func serve(t *testing.T, w *waiting, query string) int {
	t.Helper()
	r := httptest.NewRequest("GET", "http://"+w.host+callback+"?"+query, nil)
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	return rec.Code
}

// deviceLogin logs in while time passes as the waits say.
func deviceLogin(t *testing.T, f *faulty) (tokens Tokens, waits []time.Duration, prompt Prompt, err error) {
	t.Helper()
	now := time.Now()
	cfg := f.config()
	cfg.Now = func() time.Time { return now }
	p, err := Discover(t.Context(), cfg)
	require.NoError(t, err)
	tokens, err = p.Device(t.Context(), func(shown Prompt) { prompt = shown }, func(_ context.Context, d time.Duration) error {
		if waits = append(waits, d); len(waits) > 400 {
			return errors.New("it asks without end")
		}
		now = now.Add(d)
		return nil
	})
	return tokens, waits, prompt, err
}

func TestDeviceLoginAsksAtThePaceOfTheProvider(t *testing.T) {
	f := newFaulty(t)
	pending, slower := refusedWith("authorization_pending"), refusedWith("slow_down")
	f.will(pending, slower, pending, slower, reply{503, nil}, f.good(nil))
	tokens, waits, prompt, err := deviceLogin(t, f)
	require.NoError(t, err)
	assert.Equal(t, "rt", tokens.Refresh)
	assert.Equal(t, Prompt{Address: f.URL + "/go", Code: "ABCD-EFGH", Expires: 10 * time.Minute}, prompt)
	s := time.Second
	assert.Equal(t, []time.Duration{2 * s, 2 * s, 7 * s, 7 * s, 12 * s, 24 * s}, waits)
	assert.Equal(t, []string{deviceGrant, "dc", "bgctl"}, []string{f.asked()[0].Get("grant_type"), f.asked()[0].Get("device_code"), f.asked()[0].Get("client_id")})
}

func TestDeviceLoginThatComesToNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		answers []reply
		change  func(*faulty)
		want    string
	}{
		"the person says no":           {[]reply{refusedWith("authorization_pending"), refusedWith("access_denied")}, nil, "access_denied"},
		"the code ends":                {[]reply{refusedWith("expired_token")}, nil, "expired_token"},
		"nobody comes":                 {[]reply{refusedWith("authorization_pending")}, nil, "nobody logged in in time"},
		"the provider stays away":      {[]reply{{503, nil}}, nil, "nobody logged in in time"},
		"an answer that says nothing":  {[]reply{{200, map[string]string{}}}, nil, "token of type"},
		"no such client":               {nil, func(f *faulty) { f.device = refusedWith("unauthorized_client") }, "unauthorized_client"},
		"an address that is no page":   {nil, func(f *faulty) { f.device.body.(map[string]any)["verification_uri"] = "javascript:alert(1)" }, "broken"},
		"an address that anybody sees": {nil, func(f *faulty) { f.device.body.(map[string]any)["verification_uri"] = "http://login.example.com" }, "broken"},
		"no code":                      {nil, func(f *faulty) { delete(f.device.body.(map[string]any), "user_code") }, "broken"},
		"no device login":              {nil, func(f *faulty) { delete(f.meta, "device_authorization_endpoint") }, "offers no device_authorization_endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaulty(t)
			f.will(append(tc.answers, reply{500, nil})[:max(len(tc.answers), 1)]...)
			if tc.change != nil {
				tc.change(f)
			}
			_, _, _, err := deviceLogin(t, f)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestARefreshKeepsWhatTheAnswerLeavesOut(t *testing.T) {
	f := newFaulty(t)
	p := f.discover(t)
	old := Tokens{Bearer: "old", Refresh: "rt-1", Subject: "7"}
	f.will(f.good(nil))
	got, err := p.Refresh(t.Context(), old)
	require.NoError(t, err)
	assert.Equal(t, "rt", got.Refresh)
	answer := f.good(nil)
	delete(answer.body.(map[string]any), "refresh_token")
	f.will(answer)
	got, err = p.Refresh(t.Context(), old)
	require.NoError(t, err)
	assert.Equal(t, "rt-1", got.Refresh)
	assert.NotEqual(t, "old", got.Bearer)

	cfg := f.config()
	cfg.Token = AccessToken
	p, err = Discover(t.Context(), cfg)
	require.NoError(t, err)
	delete(answer.body.(map[string]any), "id_token")
	f.will(answer)
	got, err = p.Refresh(t.Context(), old)
	require.NoError(t, err)
	assert.Equal(t, []string{"at", "rt-1", "7"}, []string{got.Bearer, got.Refresh, got.Subject})
	assert.WithinDuration(t, time.Now().Add(300*time.Second), got.Expires, 10*time.Second)
}

func TestARefreshThatIsRefusedEndsTheLoginAndAnOutageDoesNot(t *testing.T) {
	f := newFaulty(t)
	p := f.discover(t)
	old := Tokens{Refresh: "rt", Subject: "7"}
	noID := f.good(nil)
	delete(noID.body.(map[string]any), "id_token")
	for name, tc := range map[string]struct {
		answer reply
		ended  bool
	}{
		"refused": {refusedWith("invalid_grant"), true}, "another person": {f.good(map[string]any{"sub": "8"}), true}, "no ID token": {noID, true},
		"out of order": {reply{503, nil}, false}, "too many": {reply{429, nil}, false}, "out of order, in words": {reply{500, map[string]string{"error": "server_error"}}, false},
	} {
		f.will(tc.answer)
		_, err := p.Refresh(t.Context(), old)
		require.Error(t, err, name)
		assert.Equal(t, tc.ended, Ended(err), "%s: %v", name, err)
	}
	f.Close()
	_, err := p.Refresh(t.Context(), old)
	require.Error(t, err)
	assert.False(t, Ended(err))
}
