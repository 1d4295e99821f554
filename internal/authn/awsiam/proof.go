package awsiam

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"breakglass/internal/breakglass"
)

// Proof is a signed identity as the caller sends it: the parts of a signed
// GetCallerIdentity request that only the caller knows. Everything else about
// that request is fixed, and the server knows it.
type Proof struct {
	Server        string // one of the server's names
	Nonce         string
	Authorization string // the header: AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…
	Date          string // X-Amz-Date
	SecurityToken string // X-Amz-Security-Token; empty for the keys of an IAM user
}

// Lengths of the parts of a proof, in bytes. AWS gives no bound for session
// tokens; those of Identity Center have about 1,300.
const (
	maxServer        = 253
	maxNonce         = 128
	maxSecurityToken = 8192
)

// The headers that are signed. Names are lower case, as they are in
// SignedHeaders.
const (
	headerHost   = "host"
	headerDate   = "x-amz-date"
	headerToken  = "x-amz-security-token" // #nosec G101 -- the name of a header
	headerServer = "x-breakglass-server"
	headerNonce  = "x-breakglass-nonce"
)

// optional are headers that every request has with a fixed value, so that it
// doesn't matter whether they are signed. Signers differ in that.
var optional = []string{"content-length", "content-type"}

// MaxSkew is how far the time of the signature may be from the server's clock.
// STS itself takes signatures for 15 minutes.
const MaxSkew = 60 * time.Second

// dateLayout is that of X-Amz-Date (Signature Version 4).
const dateLayout = "20060102T150405Z"

// authorization is the one form that is read: each part has a bound, the scope
// ends in sts, nothing may be there twice, and nothing may follow.
var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 ` +
	`Credential=([A-Za-z0-9_]{16,128})/([0-9]{8})/([a-z0-9-]{1,32})/sts/aws4_request, ?` +
	`SignedHeaders=([a-z0-9;-]{1,256}), ?` +
	`Signature=([0-9a-f]{64})$`)

// signed is a proof that has been read: what the request is composed from.
type signed struct {
	server, nonce string
	date          string
	token         string
	accessKeyID   string
	region        string
	headers       []string
	signature     string
	at            time.Time
}

// read checks the form of a proof. It believes nothing: whether the signature is
// right is for STS to say. The error has every part that is wrong.
func (p Proof) read() (signed, error) {
	s := signed{server: p.Server, nonce: p.Nonce, date: p.Date, token: p.SecurityToken}
	var bad []breakglass.FieldError
	wrong := func(field, problem string) {
		bad = append(bad, breakglass.FieldError{Field: field, Message: problem})
	}
	if !visible(p.Server, 1, maxServer) {
		wrong("server", "must be the name of the server that the login is for")
	}
	if !visible(p.Nonce, 1, maxNonce) {
		wrong("nonce", "must be the nonce of a challenge")
	}
	if !visible(p.SecurityToken, 0, maxSecurityToken) {
		wrong("security_token", "must be the value of X-Amz-Security-Token, or empty")
	}
	var err error
	if s.at, err = time.Parse(dateLayout, p.Date); err != nil || len(p.Date) != len(dateLayout) {
		wrong("amz_date", "must be the value of X-Amz-Date, such as 20060102T150405Z")
	}
	if problem := s.authorization(p.Authorization); problem != "" {
		wrong("authorization", problem)
	}
	if len(bad) > 0 {
		return signed{}, breakglass.InvalidRequest(bad)
	}
	return s, nil
}

// authorization reads the header and returns what is wrong with it, or "".
func (s *signed) authorization(text string) string {
	m := authorization.FindStringSubmatch(text)
	if m == nil {
		return "must have the form AWS4-HMAC-SHA256 Credential=<key>/<date>/<region>/sts/aws4_request, SignedHeaders=<names>, Signature=<64 hex digits>"
	}
	s.accessKeyID, s.region, s.headers, s.signature = m[1], m[3], strings.Split(m[4], ";"), m[5]
	if m[2] != s.date[:min(8, len(s.date))] {
		return "the date of the credential must be that of amz_date"
	}
	return s.checkHeaders()
}

// checkHeaders says what is wrong with the names of the signed headers. The
// order is that of Signature Version 4, so none can be there twice.
func (s *signed) checkHeaders() string {
	required := []string{headerHost, headerDate, headerServer, headerNonce}
	if s.token != "" {
		required = append(required, headerToken)
	}
	for i, h := range s.headers {
		if i > 0 && s.headers[i-1] >= h {
			return "the signed headers must be in order, each once"
		}
		if !slices.Contains(required, h) && !slices.Contains(optional, h) {
			return "signs a header that is not sent"
		}
	}
	for _, h := range required {
		if !slices.Contains(s.headers, h) {
			return "must sign the header " + h
		}
	}
	return ""
}

// visible reports whether s is visible ASCII of that length: what can stand in
// a header and mean itself.
func visible(s string, minLen, maxLen int) bool {
	if len(s) < minLen || len(s) > maxLen {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
