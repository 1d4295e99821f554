package oidc

import (
	"slices"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/yamlfile"
)

// Defaults and bounds of a Config.
const (
	DefaultClockSkew = time.Minute
	MaxClockSkew     = 10 * time.Minute
	DefaultKeysKept  = 24 * time.Hour
	MinKeysKept      = time.Minute
	MaxKeysKept      = 30 * 24 * time.Hour
)

// Config is one issuer whose tokens are accepted.
type Config struct {
	// Name is what the way in is called where it is shown; default: the issuer.
	Name string `yaml:"name"`
	// Issuer is the exact value of iss, and where discovery starts.
	Issuer string `yaml:"issuer"`
	// Audiences lists the values of aud that mean this server.
	Audiences []string `yaml:"audiences"`
	// AuthorizedParties lists the clients (azp) that may have asked for the token.
	// When it is empty, azp counts only where there are several audiences, and has
	// to be one of Audiences or the login's client.
	AuthorizedParties []string `yaml:"authorized_parties"`
	// Algorithms are the signatures that are accepted; default RS256 and ES256.
	Algorithms []string `yaml:"algorithms"`
	// UsernameClaim names the principal.
	UsernameClaim string `yaml:"username_claim"`
	// GroupsClaim holds the groups, a string or a list; empty: no groups.
	GroupsClaim string `yaml:"groups_claim"`
	// RequiredClaims have to be there with exactly these values.
	RequiredClaims map[string]string `yaml:"required_claims"`
	// NamePrefix and GroupPrefix go before every name and group of this issuer.
	NamePrefix  string `yaml:"name_prefix"`
	GroupPrefix string `yaml:"group_prefix"`
	// ClockSkew is how far the clocks may be apart; default 60s.
	ClockSkew *yamlfile.Duration `yaml:"clock_skew"`
	// KeysKept is how long keys work after the issuer last confirmed them; default 24h.
	KeysKept yamlfile.Duration `yaml:"keys_kept"`
	// CAFile holds PEM certificates that are trusted for this issuer beside the system's.
	CAFile string `yaml:"ca_file"`
	// MFA says which logins of this issuer count as made with a second factor;
	// absent: none.
	MFA *MFA `yaml:"mfa"`
	// Login is what `bgctl login --oidc` needs to know; absent: people don't log in there.
	Login *Login `yaml:"login"`
}

// MFA lists the values of the claims amr (RFC 8176) and acr that stand for a
// second factor. Issuers mean different things by the same words, so there is no
// default.
type MFA struct {
	AMR []string `yaml:"amr"`
	ACR []string `yaml:"acr"`
}

// factor is the value by which the login counts, or "".
func (m *MFA) factor(a breakglass.Assurance) string {
	if m == nil {
		return ""
	}
	for _, method := range a.Methods {
		if slices.Contains(m.AMR, method) {
			return method
		}
	}
	if slices.Contains(m.ACR, a.Class) {
		return a.Class
	}
	return ""
}

// Login is public: anybody can ask the server for it.
type Login struct {
	ClientID string `yaml:"client_id"`
	// Scopes are asked for; default openid, profile, email and offline_access.
	Scopes []string `yaml:"scopes"`
	// Token is the one that is sent to this server: id_token (default) or access_token.
	Token string `yaml:"token"`
}

// The tokens that Login.Token can name.
const (
	IDToken     = "id_token"
	AccessToken = "access_token"
)

// Title is the name of the issuer for people.
func (c Config) Title() string {
	if c.Name != "" {
		return c.Name
	}
	return c.Issuer
}

// LoginScopes are the scopes to ask for.
func (l Login) LoginScopes() []string {
	if len(l.Scopes) == 0 {
		return []string{"openid", "profile", "email", "offline_access"}
	}
	return l.Scopes
}

// LoginToken is the token that is sent to this server.
func (l Login) LoginToken() string {
	if l.Token == "" {
		return IDToken
	}
	return l.Token
}

func (c Config) algorithms() []string {
	if len(c.Algorithms) == 0 {
		return []string{"RS256", "ES256"}
	}
	return c.Algorithms
}

func (c Config) skew() time.Duration {
	if c.ClockSkew == nil {
		return DefaultClockSkew
	}
	return time.Duration(*c.ClockSkew)
}

func (c Config) kept() time.Duration {
	if c.KeysKept == 0 {
		return DefaultKeysKept
	}
	return time.Duration(c.KeysKept)
}

func (c Config) parties() []string {
	if len(c.AuthorizedParties) > 0 {
		return c.AuthorizedParties
	}
	parties := c.Audiences
	if c.Login != nil {
		parties = append(append([]string{}, parties...), c.Login.ClientID)
	}
	return parties
}
