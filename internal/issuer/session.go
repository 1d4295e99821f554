package issuer

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"breakglass/internal/breakglass"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
)

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
