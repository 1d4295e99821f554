package breakglass

import "time"

// Assurance is what an identity provider says about how a person logged in:
// evidence for a rule that asks for a second factor. Zero fields mean that the
// provider said nothing, which proves nothing.
type Assurance struct {
	Methods []string  // amr, such as pwd, otp, hwk (RFC 8176)
	Class   string    // acr, in the provider's own terms
	At      time.Time // auth_time: when the person last logged in there
	// Factor is the amr or acr value by which the configuration takes the login
	// for one with a second factor; empty when none of them is one.
	Factor string
}
