package awsiam

import (
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/authn/session"
	"breakglass/internal/breakglass"
)

// FuzzProof holds what is composed from a signed identity against what it may
// contain, whatever the caller sends.
func FuzzProof(f *testing.F) {
	sig := strings.Repeat("0a", 32)
	f.Add("h", "n", "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLEEXAMPLE00/20260102/us-east-1/sts/aws4_request, SignedHeaders=host;x-amz-date;x-breakglass-nonce;x-breakglass-server, Signature="+sig, "20260102T030405Z", "")
	f.Add("h", "n", "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLEEXAMPLE00/20260102/us-east-1/sts/aws4_request,SignedHeaders=content-length;content-type;host;x-amz-date;x-amz-security-token;x-breakglass-nonce;x-breakglass-server,Signature="+sig, "20260102T030405Z", "tok+/=")
	f.Add("h\r\nA: b", "n", "AWS4-HMAC-SHA256 Credential=a/b/c/sts/aws4_request, SignedHeaders=host;host, Signature=x, Signature=y", "20260102T030405Z", "")
	a, err := newAsker(Config{}, time.Second)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, server, nonce, auth, date, token string) {
		p := Proof{Server: server, Nonce: nonce, Authorization: auth, Date: date, SecurityToken: token}
		s, err := p.read()
		if err != nil {
			if breakglass.AsError(err).Code != breakglass.CodeInvalidRequest || len(breakglass.AsError(err).Fields) == 0 {
				t.Fatal(err)
			}
			return
		}
		req, err := a.request(t.Context(), s)
		if err != nil {
			t.Fatalf("%+v can't be asked: %v", s, err)
		}
		if req.URL.Scheme != "https" || req.URL.Path != "/" || req.URL.RawQuery != "" || req.URL.Host != req.Host ||
			!strings.HasPrefix(req.Host, "sts.") || strings.ContainsAny(req.Host, "/@:#?") ||
			!strings.HasSuffix(req.Host, ".amazonaws.com") && !strings.HasSuffix(req.Host, ".amazonaws.com.cn") {
			t.Fatalf("asks %s", req.URL)
		}
		var b strings.Builder
		if err := req.Header.Write(&b); err != nil || strings.Count(b.String(), "\r\n") != len(req.Header) {
			t.Fatalf("headers break: %q", b.String())
		}
		// What is composed says the same as what was sent.
		if strings.ReplaceAll(req.Header.Get("Authorization"), ", ", ",") != strings.ReplaceAll(auth, ", ", ",") {
			t.Fatalf("%q became %q", auth, req.Header.Get("Authorization"))
		}
		for _, h := range []string{headerHost, headerDate, headerServer, headerNonce} {
			if !slices.Contains(s.headers, h) {
				t.Fatalf("%s isn't signed", h)
			}
		}
		if len(slices.Compact(slices.Clone(s.headers))) != len(s.headers) || len(req.Header) > 8 {
			t.Fatalf("%v", s.headers)
		}
	})
}

// FuzzAnswer: whatever answers, an identity is either complete or none.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "application/json", []byte(`{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Account":"123456789012","Arn":"arn:aws:iam::123456789012:user/p/alice","UserId":"A"}}}`))
	f.Add(403, "application/json", []byte(`{"Error":{"Code":"SignatureDoesNotMatch"}}`))
	f.Add(200, "application/json", []byte(`{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Arn":"","arn":""}}} {}`))
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		id, err := readAnswer(&http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}}, body)
		if err != nil {
			return
		}
		if status != 200 || !account.MatchString(id.Account) || (id.Role == "") == (id.User == "") || !strings.Contains(id.ARN, ":"+id.Account+":") {
			t.Fatalf("%+v", id)
		}
	})
}

func FuzzNonce(f *testing.F) {
	// The workers are processes of their own, so key and nonce have to be the same in all.
	keys, err := session.Load([]session.KeySource{{Env: "K"}}, func(string) (string, bool) { return "0123456789abcdefghijklmnopqrstuvwxyz", true })
	require.NoError(f, err)
	now := time.Unix(1700000000, 0)
	b := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli()))
	b = append(b, "sixteen bytes..."...)
	good := base64.RawURLEncoding.EncodeToString(append(b, keys.MAC(noncePurpose, b)...))
	require.NoError(f, checkNonce(keys, good, now))
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add("")
	f.Fuzz(func(t *testing.T, nonce string) {
		if checkNonce(keys, nonce, now) == nil && nonce != good {
			t.Fatalf("%q is taken", nonce)
		}
	})
}
