package issuer

import (
	"context"
	"crypto/rand"
	"time"

	"breakglass/internal/breakglass"
)

// Dev issues keys that open nothing and say so, with the same end as real
// ones. It is for development mode.
type Dev struct{}

var _ breakglass.Issuer = Dev{}

// Issue implements breakglass.Issuer. Its only error is that the grant is over.
func (Dev) Issue(_ context.Context, p breakglass.Profile, g breakglass.Grant, now time.Time) (breakglass.Credentials, error) {
	end, err := sessionEnd(g, now)
	if err != nil {
		return breakglass.Credentials{}, err
	}
	seconds := durationSeconds(end, now, roleMaximum(p))
	name := breakglass.SessionName(g.Holder, g.ID)
	c := breakglass.Credentials{
		AccessKeyID:     "ASIADEVELOPMENT" + rand.Text()[:5], // 20 characters like a real one
		SecretAccessKey: "dev-secret-not-valid-at-aws-" + rand.Text(),
		SessionToken:    "dev-token-not-valid-at-aws-" + rand.Text(),
		Expiration:      earlier(end, now.Add(time.Duration(seconds)*time.Second)),
		Issuer:          "dev",
		RoleSessionName: name,
	}
	if p.SourceIdentity {
		c.SourceIdentity = name
	}
	return c, nil
}
