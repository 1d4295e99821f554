package cli

import (
	"net/url"

	"breakglass/internal/cli/settings"
)

// otherWays is for a login that the server doesn't offer.
const otherWays = "`bgctl login --help` shows the other ways to log in"

// attempt is a login that is being tried. What is stored, or stands in the
// environment, is not what the server refuses then.
type attempt struct {
	from  string // where the token came from, in words
	again string // the flags of another try
}

func trying(stdin bool, oidc oidcFlags, aws awsFlags) *attempt {
	switch {
	case oidc.asked():
		t := &attempt{"the identity provider", " --oidc"}
		if oidc.device {
			t.again = " --device"
		}
		if oidc.provider != "" {
			t.again += " --provider " + quote(oidc.provider)
		}
		return t
	case aws.asked():
		return &attempt{"the login with an AWS identity", awsAgain(settings.AWS{Profile: aws.profile, Region: aws.region})}
	case stdin:
		return &attempt{"standard input", " --token-stdin, with a valid token"}
	}
	return &attempt{"what was typed", ""}
}

// again are the flags by which the stored login was made.
func again(s settings.Settings) string {
	switch {
	case s.OIDC != nil:
		return " --oidc"
	case s.AWS != nil:
		return awsAgain(*s.AWS)
	}
	return ""
}

func awsAgain(l settings.AWS) string {
	flags := " --aws" + profileFlag(l.Profile)
	if l.Region != "" {
		flags += " --region " + quote(l.Region)
	}
	return flags
}

// hostOf is the host name in the address of a server.
func hostOf(server string) string {
	if u, err := url.Parse(server); err == nil {
		return u.Hostname()
	}
	return server
}
