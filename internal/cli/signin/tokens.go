package signin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Tokens are what a login gives. They are secret.
type Tokens struct {
	Bearer  string    `json:"bearer"`
	Expires time.Time `json:"expires,omitzero"` // zero: unknown
	Refresh string    `json:"refresh,omitempty"`
	Subject string    `json:"subject,omitempty"` // sub: a refresh must not change it
}

// String keeps tokens out of texts.
func (Tokens) String() string { return "tokens" }

// GoString does the same for %#v.
func (Tokens) GoString() string { return "tokens" }

// tokenAnswer is the answer of a token endpoint (RFC 6749, sections 5.1 and 5.2).
type tokenAnswer struct {
	AccessToken  string  `json:"access_token"`
	TokenType    string  `json:"token_type"`
	ExpiresIn    float64 `json:"expires_in"`
	RefreshToken string  `json:"refresh_token"`
	IDToken      string  `json:"id_token"`
	refusal
}

type refusal struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

// grant asks the token endpoint.
func (p *Provider) grant(ctx context.Context, form url.Values) (tokenAnswer, error) {
	endpoint, err := p.endpoint("token_endpoint", p.meta.Token)
	if err != nil {
		return tokenAnswer{}, err
	}
	var a tokenAnswer
	status, err := p.post(ctx, endpoint, form, &a)
	switch {
	case err != nil:
		return tokenAnswer{}, err
	case status != http.StatusOK:
		return tokenAnswer{}, p.refused(status, a.refusal)
	}
	return a, nil
}

func (p *Provider) refused(status int, r refusal) *Error {
	e := p.failed(status, "it answered %d", status)
	if r.Code != "" {
		e.Code, e.Message = r.Code, "the identity provider refused: "+r.Code
		if r.Description != "" {
			e.Message += " (" + r.Description + ")"
		}
	}
	return e
}

// tokens takes the tokens out of an answer. nonce is what the ID token must
// hold, unless it is empty.
func (p *Provider) tokens(a tokenAnswer, nonce string) (Tokens, error) {
	t := Tokens{Refresh: a.RefreshToken}
	if !strings.EqualFold(a.TokenType, "Bearer") {
		return t, p.failed(0, "it gave a token of type %q", a.TokenType)
	}
	if a.IDToken == "" {
		return t, p.failed(0, "it gave no ID token")
	}
	id, err := p.check(a.IDToken, nonce)
	if err != nil {
		return t, p.failed(0, "its ID token is wrong: %v", err)
	}
	t.Subject = id.Subject
	if p.cfg.Token != AccessToken {
		t.Bearer, t.Expires = a.IDToken, time.Unix(int64(id.Expires), 0).UTC()
		return t, nil
	}
	if t.Bearer = a.AccessToken; t.Bearer == "" {
		return t, p.failed(0, "it gave no access token")
	}
	if a.ExpiresIn > 0 && a.ExpiresIn < 1<<31 {
		t.Expires = p.cfg.Now().Add(time.Duration(a.ExpiresIn) * time.Second).UTC()
	}
	return t, nil
}

type idClaims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience audience `json:"aud"`
	Party    string   `json:"azp"`
	Expires  float64  `json:"exp"`
	Nonce    string   `json:"nonce"`
}

// audience is one string or a list of them.
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// check looks at an ID token as OpenID Connect Core 1.0, section 3.1.3.7 says.
func (p *Provider) check(token, nonce string) (c idClaims, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, errors.New("it has not three parts")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &c) != nil {
		return c, errors.New("it can't be read")
	}
	switch {
	case c.Issuer != p.cfg.Issuer:
		return c, fmt.Errorf("it is of another issuer, %q", c.Issuer)
	case !slices.Contains(c.Audience, p.cfg.ClientID):
		return c, errors.New("it is for another client")
	case len(c.Audience) > 1 && c.Party != p.cfg.ClientID:
		return c, errors.New("another client asked for it")
	case c.Subject == "":
		return c, errors.New("it says for nobody")
	case nonce != "" && c.Nonce != nonce:
		return c, errors.New("its nonce is not that of this login")
	case c.Expires <= 0 || c.Expires > 1<<40:
		return c, errors.New("it has no end")
	}
	return c, nil
}

// Refresh gets new tokens. What an answer leaves out stays as it was.
func (p *Provider) Refresh(ctx context.Context, old Tokens) (Tokens, error) {
	a, err := p.grant(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old.Refresh}})
	if err != nil {
		return Tokens{}, err
	}
	if a.IDToken == "" && p.cfg.Token != AccessToken {
		return Tokens{}, p.failed(0, "it gave no new ID token")
	}
	t := Tokens{Refresh: a.RefreshToken, Subject: old.Subject}
	if a.IDToken != "" {
		if t, err = p.tokens(a, ""); err != nil {
			return Tokens{}, err
		}
		if t.Subject != old.Subject {
			return Tokens{}, p.failed(0, "its new token is for somebody else")
		}
	} else if t.Bearer = a.AccessToken; t.Bearer == "" {
		return Tokens{}, p.failed(0, "it gave no access token")
	} else if a.ExpiresIn > 0 && a.ExpiresIn < 1<<31 {
		t.Expires = p.cfg.Now().Add(time.Duration(a.ExpiresIn) * time.Second).UTC()
	}
	if t.Refresh == "" {
		t.Refresh = old.Refresh
	}
	return t, nil
}

// Revoke takes the refresh token back (RFC 7009); done is false when the
// provider has no way to do so.
func (p *Provider) Revoke(ctx context.Context, t Tokens) (done bool, err error) {
	if t.Refresh == "" || p.meta.Revocation == "" {
		return false, nil
	}
	endpoint, err := p.endpoint("revocation_endpoint", p.meta.Revocation)
	if err != nil {
		return false, err
	}
	status, err := p.post(ctx, endpoint, url.Values{"token": {t.Refresh}, "token_type_hint": {"refresh_token"}}, nil)
	if err == nil && status != http.StatusOK {
		err = p.failed(status, "it answered %d to the revocation", status)
	}
	return err == nil, err
}
