package breakglass

import "strings"

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
	if i < 1 || !IsID(name[i+1:]) {
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
