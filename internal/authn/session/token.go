package session

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"breakglass/internal/authn"
)

// Prefix begins every session token, and MaxToken is the longest, in bytes.
const (
	Prefix   = authn.SessionPrefix
	MaxToken = authn.MaxToken
)

const purpose = "session/1"

// Errors of Keys.Read.
var (
	ErrInvalid = errors.New("not a session token of this server")
	ErrExpired = errors.New("the session is over")
)

// Session is what a token says.
type Session struct {
	ID      string    // random, so that no two tokens are the same
	Name    string    // the canonical name of the principal
	Via     string    // the way in, such as "aws"
	Subject string    // the identity that was proved there, such as an ARN
	Server  string    // the server name that the proof was bound to
	Issued  time.Time // whole seconds
	Expires time.Time
}

// wire is the signed form. The names are short because headers are.
type wire struct {
	ID      string `json:"jti"`
	Name    string `json:"name"`
	Via     string `json:"via"`
	Subject string `json:"sub"`
	Server  string `json:"srv"`
	Issued  int64  `json:"iat"`
	Expires int64  `json:"exp"`
}

// Token signs a session and gives it an ID.
func (k *Keys) Token(s Session) (string, error) {
	id := make([]byte, 12)
	_, _ = rand.Read(id) // never fails: crypto/rand aborts the program instead
	body, err := json.Marshal(wire{base64.RawURLEncoding.EncodeToString(id), s.Name, s.Via, s.Subject, s.Server, s.Issued.Unix(), s.Expires.Unix()})
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	token := Prefix + enc.EncodeToString(body) + "." + enc.EncodeToString(k.MAC(purpose, body))
	if len(token) > MaxToken {
		return "", errors.New("the session token would be too long")
	}
	return token, nil
}

// Read returns the session of a token that is signed by one of the keys and not
// over at now. A token that is over comes back with its session and ErrExpired;
// anything else is ErrInvalid.
func (k *Keys) Read(token string, now time.Time) (Session, error) {
	rest, ok := strings.CutPrefix(token, Prefix)
	if !ok || len(token) > MaxToken {
		return Session{}, ErrInvalid
	}
	head, tail, ok := strings.Cut(rest, ".")
	if !ok {
		return Session{}, ErrInvalid
	}
	enc := base64.RawURLEncoding.Strict() // one text for one token
	body, err := enc.DecodeString(head)
	if err != nil {
		return Session{}, ErrInvalid
	}
	tag, err := enc.DecodeString(tail)
	if err != nil || strings.ContainsAny(rest, "\r\n") || !k.Verify(purpose, body, tag) {
		return Session{}, ErrInvalid
	}
	// Only what this server has signed gets here.
	var w wire
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if dec.Decode(&w) != nil || dec.Decode(new(any)) != io.EOF || w.Name == "" || w.Via == "" {
		return Session{}, ErrInvalid
	}
	s := Session{w.ID, w.Name, w.Via, w.Subject, w.Server, time.Unix(w.Issued, 0).UTC(), time.Unix(w.Expires, 0).UTC()}
	if !now.Before(s.Expires) {
		return s, ErrExpired
	}
	return s, nil
}
