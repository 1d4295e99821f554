package authn

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakglass/internal/breakglass"
)

// TokenPrefix begins the static tokens that NewToken makes, so that scanners for
// leaked secrets can know them. Tokens made elsewhere need not have it.
const TokenPrefix = "bgt_"

// ExpiresSoon is how long before its end a static token is warned of.
const ExpiresSoon = 14 * 24 * time.Hour

// NewToken makes a token of 256 random bits and fills in its hash. What is wrong
// with t otherwise is an error.
func NewToken(t Token) (secret string, _ Token, err error) {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: crypto/rand aborts the program instead
	secret = TokenPrefix + base64.RawURLEncoding.EncodeToString(b)
	sum := sha256.Sum256([]byte(secret))
	t.SHA256 = hex.EncodeToString(sum[:])
	var errs []error
	for _, p := range Check([]Token{t}, nil) {
		errs = append(errs, errors.New(strings.TrimPrefix(p.Path, "auth.tokens[0].")+" "+p.Message))
	}
	if len(errs) > 0 {
		return "", Token{}, errors.Join(errs...)
	}
	t.Name = breakglass.Canonical(t.Name)
	return secret, t, nil
}

// YAML is the entry of the token for auth.tokens.
func (t Token) YAML() string {
	fields := []string{"name: " + strconv.Quote(t.Name), "sha256: " + strconv.Quote(t.SHA256)}
	list := func(field string, items []string) {
		if len(items) > 0 {
			quoted := make([]string, len(items))
			for i, item := range items {
				quoted[i] = strconv.Quote(item)
			}
			fields = append(fields, field+": ["+strings.Join(quoted, ", ")+"]")
		}
	}
	instant := func(field string, i Instant) {
		if !i.IsZero() {
			fields = append(fields, field+": "+strconv.Quote(time.Time(i).Format(time.RFC3339Nano)))
		}
	}
	list("groups", t.Groups)
	if t.Label != "" {
		fields = append(fields, "label: "+strconv.Quote(t.Label))
	}
	instant("not_before", t.NotBefore)
	instant("expires", t.Expires)
	list("allowed_from", t.AllowedFrom)
	return "- {" + strings.Join(fields, ", ") + "}"
}

// Warnings names the tokens that have expired, or will soon. When another token
// of the same name lives on, somebody is in the middle of a rotation: the old one
// is to be removed.
func Warnings(tokens []Token, now time.Time) []string {
	var out []string
	for i, t := range tokens {
		end := time.Time(t.Expires)
		if end.IsZero() || now.Before(end.Add(-ExpiresSoon)) {
			continue
		}
		which := fmt.Sprintf("auth.tokens[%d] is a token of %q", i, t.Name)
		if t.Label != "" {
			which += fmt.Sprintf(" (%q)", t.Label)
		}
		what, then := "that expires at "+end.Format(time.RFC3339), "; make another with breakglassd token new"
		if !now.Before(end) {
			what = "that expired at " + end.Format(time.RFC3339)
		}
		if slices.ContainsFunc(tokens, func(o Token) bool {
			return breakglass.Canonical(o.Name) == breakglass.Canonical(t.Name) && (o.Expires.IsZero() || time.Time(o.Expires).After(now.Add(ExpiresSoon)))
		}) {
			then = "; another token of that name lives on: remove this one once it is no longer used"
		}
		out = append(out, which+" "+what+then)
	}
	return out
}
