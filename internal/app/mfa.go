package app

import (
	"os"
	"slices"

	"breakglass/internal/authn/oidc"
	"breakglass/internal/breakglass"
	"breakglass/internal/config"
	"breakglass/internal/mfa"
)

// secondFactors returns what checks second factors; nil where the server checks
// none itself.
func secondFactors(c config.Auth) (*breakglass.MFA, error) {
	if c.MFA == nil {
		return nil, nil
	}
	factors, err := mfa.New(*c.MFA, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	return &breakglass.MFA{Factors: factors, InvitationOnly: c.MFA.Enrolment == mfa.EnrolmentAdmin}, nil
}

// warnMFA says that a policy asks for what nobody can give; empty: it doesn't.
func warnMFA(c config.Auth, wanted bool) string {
	byProvider := slices.ContainsFunc(c.OIDC, func(o oidc.Config) bool { return o.MFA != nil })
	if !wanted || c.MFA != nil || byProvider {
		return ""
	}
	return "the policy has a rule with mfa, and neither auth.mfa nor the mfa of an issuer in auth.oidc is there: nobody can use that rule"
}
