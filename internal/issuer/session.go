package issuer

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"breakglass/internal/breakglass"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
)

// maxSessionName is the longest RoleSessionName and SourceIdentity (AWS STS
// API reference: 2–64 characters of [\w+=,.@-]).
const maxSessionName = 64

// SessionName returns the name under which CloudTrail shows what the credentials
// of a grant did: "<holder>.<grant id>", where the id is that of the event, of the
// access request or of the decision by standing policy. It is valid both as
// RoleSessionName and as SourceIdentity. The holder is cut to fit and other
// characters in it become "-"; the id is always whole, at the end, and makes the
// name unique.
func SessionName(holder, grantID string) string {
	id := cleanName(grantID)
	id = id[:min(len(id), maxSessionName/2)] // an id has 16 characters; anything else still gives a valid name
	who := cleanName(holder)
	who = who[:min(len(who), maxSessionName-1-len(id))]
	if who == "" {
		who = "-"
	}
	return who + "." + id
}

// ParseSessionName splits what SessionName has made. ok is false for the names
// of other sessions.
func ParseSessionName(name string) (holder, grantID string, ok bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 1 || !breakglass.IsID(name[i+1:]) {
		return "", "", false
	}
	return name[:i], name[i+1:], true
}

func cleanName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("_+=,.@-", r):
			return r
		}
		return '-'
	}, s)
}

// maxTagValue is the longest value of a session tag (AWS STS API reference, Tag).
const maxTagValue = 256

// sessionTags describe the grant to policies (aws:PrincipalTag/…). None is
// transitive: a transitive tag would stay through role chains and can't be
// overridden there, and SourceIdentity already does that job.
//
// AWS packs tags and session policy into one small space of a size that it
// doesn't document, so a tag is there only where it says something.
func sessionTags(p breakglass.Profile, g breakglass.Grant) []types.Tag {
	all := []struct{ key, value string }{
		{"breakglass:granted_by", string(g.Link)},
		{"breakglass:grant_id", g.ID},
		{"breakglass:event_id", g.EventID()},
		{"breakglass:invoker", g.Holder},
		{"breakglass:profile", p.Name},
		{"breakglass:reason_code", reasonOf(g)},
		{"breakglass:request_id", g.CorrelationID},
	}
	tags := make([]types.Tag, 0, len(all))
	for _, t := range all {
		if t.value != "" {
			tags = append(tags, types.Tag{Key: aws.String(t.key), Value: aws.String(cleanTag(t.value))})
		}
	}
	return tags
}

// reasonOf is the reason code of an event. The other links have none, and what
// looks like one must not meet a policy that is about events.
func reasonOf(g breakglass.Grant) string {
	if g.Link == breakglass.LinkBreakglass {
		return string(g.ReasonCode)
	}
	return ""
}

// cleanTag keeps the characters that STS takes in a tag,
// [\p{L}\p{Z}\p{N}_.:/=+\-@], and puts "_" for the others. Length is counted in
// UTF-16 units, the narrowest way in which AWS could count.
func cleanTag(s string) string {
	var b strings.Builder
	units := 0
	for _, r := range s {
		if r == utf8.RuneError || !unicode.In(r, unicode.L, unicode.Z, unicode.N) && !strings.ContainsRune("_.:/=+-@", r) {
			r = '_'
		}
		n := 1
		if r > 0xFFFF {
			n = 2
		}
		if units += n; units > maxTagValue {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
