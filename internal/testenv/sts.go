package testenv

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// STS is the AWS emulator with its check of signatures switched on: it takes
// only what is signed by a key that it has made itself.
//
// The emulator answers GetCallerIdentity in XML alone, while AWS answers in JSON
// when asked for it. The proxy here puts the emulator's answer into that form,
// the header Accept permitting, and changes nothing else.
type STS struct {
	URL string

	t    testing.TB
	moto string

	mu      sync.Mutex
	seen    []Asked
	instead http.HandlerFunc
}

// Asked is a request that reached STS.
type Asked struct {
	Method, Host, Path, Body string
	Header                   http.Header
}

// AWSKeys are credentials of the emulator.
type AWSKeys struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string `xml:"SecretAccessKey"`
	SessionToken    string `xml:"SessionToken"`
}

// NewSTS starts an emulator of its own for the test.
func NewSTS(t testing.TB) *STS {
	t.Helper()
	s := &STS{t: t, moto: Moto(t)}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(server.Close)
	s.URL = server.URL
	s.check(true)
	return s
}

// User makes an IAM user in account 123456789012 and returns its keys.
func (s *STS) User(path, name string) AWSKeys {
	s.t.Helper()
	s.check(false)
	defer s.check(true)
	s.query("iam", nil, url.Values{"Action": {"CreateUser"}, "Version": {"2010-05-08"}, "UserName": {name}, "Path": {path}})
	var out struct {
		Keys AWSKeys `xml:"CreateAccessKeyResult>AccessKey"`
	}
	s.query("iam", &out, url.Values{"Action": {"CreateAccessKey"}, "Version": {"2010-05-08"}, "UserName": {name}})
	return out.Keys
}

// AssumeRole returns the keys of a session of a role, in whatever account.
func (s *STS) AssumeRole(roleARN, session string) AWSKeys {
	s.t.Helper()
	s.check(false)
	defer s.check(true)
	var out struct {
		Keys AWSKeys `xml:"AssumeRoleResult>Credentials"`
	}
	s.query("sts", &out, url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {roleARN}, "RoleSessionName": {session}})
	return out.Keys
}

// Seen returns the requests so far.
func (s *STS) Seen() []Asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Asked(nil), s.seen...)
}

// Instead answers in the emulator's place, for faults that it doesn't have; nil
// ends that.
func (s *STS) Instead(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instead = h
}

func (s *STS) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.seen = append(s.seen, Asked{r.Method, r.Host, r.RequestURI, string(body), r.Header.Clone()})
	instead := s.instead
	s.mu.Unlock()
	if instead != nil {
		instead(w, r)
		return
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, s.moto+r.RequestURI, bytes.NewReader(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out.Header, out.Host = r.Header.Clone(), r.Host
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	answer, _ := io.ReadAll(resp.Body)
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		answer = asJSON(answer)
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(answer)
}

// asJSON is the answer in the form that STS uses for JSON.
func asJSON(answer []byte) []byte {
	var in struct {
		Account   string `xml:"GetCallerIdentityResult>Account"`
		Arn       string `xml:"GetCallerIdentityResult>Arn"`
		UserID    string `xml:"GetCallerIdentityResult>UserId"`
		RequestID string `xml:"ResponseMetadata>RequestId"`
		Code      string `xml:"Error>Code"`
		Codes     string `xml:"Errors>Error>Code"`
	}
	if err := xml.Unmarshal(answer, &in); err != nil {
		return answer
	}
	var out any = map[string]any{"GetCallerIdentityResponse": map[string]any{
		"GetCallerIdentityResult": map[string]string{"Account": in.Account, "Arn": in.Arn, "UserId": in.UserID},
		"ResponseMetadata":        map[string]string{"RequestId": in.RequestID},
	}}
	if code := in.Code + in.Codes; code != "" {
		out = map[string]any{"Error": map[string]string{"Code": code, "Type": "Sender"}}
	}
	b, _ := json.Marshal(out)
	return b
}

// check switches the emulator's check of signatures and permissions.
func (s *STS) check(on bool) {
	s.t.Helper()
	requests := "inf" // that many requests aren't checked
	if on {
		requests = "0"
	}
	resp, err := http.Post(s.moto+"/moto-api/reset-auth", "text/plain", strings.NewReader(requests))
	if err != nil {
		s.t.Fatalf("testenv: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("testenv: the emulator's check of signatures can't be switched: %s", resp.Status)
	}
}

func (s *STS) query(service string, out any, form url.Values) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.moto, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatalf("testenv: %v", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLEEXAMPLE00/20260101/us-east-1/"+service+
		"/aws4_request, SignedHeaders=host, Signature=0") // tells the emulator which service is meant
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("testenv: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("testenv: %s %v: %s %s", form.Get("Action"), err, resp.Status, b)
	}
	if out != nil {
		if err := xml.Unmarshal(b, out); err != nil {
			s.t.Fatalf("testenv: %v", err)
		}
	}
}
