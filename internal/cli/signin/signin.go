// Package signin logs a person in at an OpenID Connect provider: in a browser
// on this machine (authorization code with PKCE, RFC 8252), or in one on
// another machine (device grant, RFC 8628). It keeps nothing.
//
// It uses the standard library alone, because bgctl has to start at once. It
// doesn't check the signatures of tokens: they come from the provider itself
// over TLS (OpenID Connect Core 1.0, section 3.1.3.7), and whoever they are
// shown to does.
package signin

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config says where to log in, as which client, and for which token.
type Config struct {
	Issuer   string
	ClientID string
	Scopes   []string
	// Token is the one to be used as bearer token: IDToken or AccessToken.
	Token string
	// HTTP makes the calls. It must not follow redirects.
	HTTP *http.Client
	Now  func() time.Time
}

// The tokens that Config.Token can name.
const (
	IDToken     = "id_token"
	AccessToken = "access_token"
)

// Timeouts and caps.
const (
	callTimeout = 15 * time.Second
	maxAnswer   = 1 << 20
	// MaxWait is how long a person may take to log in.
	MaxWait = 10 * time.Minute
)

// Error says why a login came to nothing.
type Error struct {
	Code    string // the provider's, such as access_denied; may be empty
	Message string // for a person; may hold text of the provider
	// Unreachable says that the provider gave no answer, or said that it can't.
	Unreachable bool
	Cause       error
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.Cause }

// Ended reports whether a refresh was refused for good: the person has to log
// in again.
func Ended(err error) bool {
	var e *Error
	return errors.As(err, &e) && !e.Unreachable
}

// Provider is a provider as its discovery document describes it.
type Provider struct {
	cfg  Config
	meta metadata
}

// metadata is what is used of a discovery document (OpenID Connect Discovery
// 1.0, RFC 8414, RFC 8628, RFC 9207).
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Device        string   `json:"device_authorization_endpoint"`
	Revocation    string   `json:"revocation_endpoint"`
	Challenges    []string `json:"code_challenge_methods_supported"`
	IssInAnswer   bool     `json:"authorization_response_iss_parameter_supported"`
}

// Discover reads the provider's discovery document.
func Discover(ctx context.Context, cfg Config) (*Provider, error) {
	if err := CheckURL(cfg.Issuer); err != nil {
		return nil, &Error{Message: "the issuer that the server names can't be used: " + err.Error()}
	}
	p := &Provider{cfg: cfg}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	where := strings.TrimSuffix(cfg.Issuer, "/") + "/.well-known/openid-configuration"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	status, err := p.do(req, &p.meta)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, p.failed(status, "it answered %d to %s", status, where)
	}
	// OpenID Connect Discovery 1.0, section 4.3: another provider's document
	// would send the person, and the code, there.
	if p.meta.Issuer != cfg.Issuer {
		return nil, p.failed(status, "it calls itself %q", p.meta.Issuer)
	}
	return p, nil
}

// CheckURL allows https, and http that stays on this machine.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return fmt.Errorf("%q is not the URL of a provider", s)
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())) {
		return fmt.Errorf("%q is not https", s)
	}
	return nil
}

// endpoint checks an address of the discovery document before it is used.
func (p *Provider) endpoint(name, value string) (string, error) {
	if value == "" {
		return "", &Error{Message: fmt.Sprintf("%s offers no %s", p.cfg.Issuer, name)}
	}
	if err := CheckURL(value); err != nil {
		return "", &Error{Message: fmt.Sprintf("the %s of %s can't be used: %v", name, p.cfg.Issuer, err)}
	}
	return value, nil
}

func (p *Provider) failed(status int, format string, args ...any) *Error {
	return &Error{Message: "the identity provider " + p.cfg.Issuer + " can't be used: " + fmt.Sprintf(format, args...),
		Unreachable: status >= http.StatusInternalServerError || status == http.StatusTooManyRequests}
}

// post sends a form and decodes the answer, whatever its status.
func (p *Provider) post(ctx context.Context, endpoint string, form url.Values, out any) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	form.Set("client_id", p.cfg.ClientID)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return p.do(req, out)
}

func (p *Provider) do(req *http.Request, out any) (status int, err error) {
	req.Header.Set("Accept", "application/json")
	// People take seconds between two calls, and providers drop idle connections
	// after some: a form that meets that moment would be lost, and isn't sent twice.
	req.Close = true
	resp, err := p.cfg.HTTP.Do(req)
	if err != nil {
		if ctx := req.Context(); errors.Is(ctx.Err(), context.Canceled) {
			return 0, ctx.Err()
		}
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // its text repeats the URL
		}
		return 0, &Error{Message: "the identity provider " + p.cfg.Issuer + " doesn't answer: " + err.Error(), Unreachable: true, Cause: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return 0, &Error{Message: "the answer of " + p.cfg.Issuer + " broke off", Unreachable: true, Cause: err}
	}
	if out == nil || len(body) == 0 {
		return resp.StatusCode, nil
	}
	if t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || t != "application/json" || len(body) > maxAnswer {
		return resp.StatusCode, p.failed(resp.StatusCode, "its answer (%d) is no JSON", resp.StatusCode)
	}
	if err := json.Unmarshal(body, out); err != nil {
		// The text of the error could quote a token.
		return resp.StatusCode, p.failed(resp.StatusCode, "its answer (%d) is broken", resp.StatusCode)
	}
	return resp.StatusCode, nil
}

// random returns 256 bits that nobody can guess, in base64url.
func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (p *Provider) scope() string {
	scopes := p.cfg.Scopes
	if !slices.Contains(scopes, "openid") {
		scopes = append([]string{"openid"}, scopes...)
	}
	return strings.Join(scopes, " ")
}

// offline adds what a provider may want before it gives a refresh token: that
// it asks the person (OpenID Connect Core 1.0, section 11).
func (p *Provider) offline(form url.Values) url.Values {
	if slices.Contains(p.cfg.Scopes, "offline_access") {
		form.Set("prompt", "consent")
	}
	return form
}
