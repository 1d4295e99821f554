package issuer

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"time"

	"breakglass/internal/breakglass"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// forgetAfter is how long what was learned about session lengths counts, so
// that a role whose MaxSessionDuration was raised needs no restart of the server.
const forgetAfter = time.Hour

// identityTimeout bounds the question who the server itself is. It must leave
// most of the time to AssumeRole, which can do without the answer.
const identityTimeout = 3 * time.Second

// chaining says whether AWS will treat the server's AssumeRole as role chaining
// and so cap the session at one hour.
type chaining int

const (
	chainingUnknown chaining = iota
	chainingNo
	chainingYes
)

// limits remembers how long sessions can be, beside what the configuration says.
type limits struct {
	mu          sync.Mutex
	capped      map[string]time.Time // role ARN → until when to ask for one hour only
	identity    chaining
	identityEnd time.Time
}

func (l *limits) isCapped(roleARN string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Before(l.capped[roleARN])
}

func (l *limits) learn(roleARN string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.capped == nil {
		l.capped = make(map[string]time.Time)
	}
	l.capped[roleARN] = now.Add(forgetAfter)
}

func (l *limits) knownIdentity(now time.Time) (chaining, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.identity, now.Before(l.identityEnd)
}

func (l *limits) setIdentity(c chaining, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.identity, l.identityEnd = c, now.Add(forgetAfter)
}

// sessionLimit is the longest session to ask for, in seconds. AWS is asked who
// the server is only when the answer matters: when more than an hour is left and
// the role allows it.
func (a *AWS) sessionLimit(ctx context.Context, p breakglass.Profile, end, now time.Time) int32 {
	limit := roleMaximum(p)
	if durationSeconds(end, now, limit) <= chainedSession {
		return limit
	}
	if a.limits.isCapped(p.RoleARN, now) || a.chaining(ctx, now) == chainingYes {
		return chainedSession
	}
	return limit
}

// chaining finds out whether the server runs on a role session. When AWS
// doesn't say, it is unknown: AssumeRole is tried with the longer duration.
func (a *AWS) chaining(ctx context.Context, now time.Time) chaining {
	if c, known := a.limits.knownIdentity(now); known {
		return c
	}
	ctx, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	out, err := a.client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}, func(o *sts.Options) {
		o.Retryer = aws.NopRetryer{}
	})
	if err != nil {
		a.log.WarnContext(ctx, "can't find out whether the server itself runs on a role session", "error", err)
		return chainingUnknown
	}
	c := chainingOf(aws.ToString(out.Arn))
	a.limits.setIdentity(c, now)
	return c
}

// instanceSession matches the session name of an EC2 instance's role.
var instanceSession = regexp.MustCompile(`/i-[0-9a-f]{8,17}$`)

// chainingOf tells from the server's own ARN. Of an instance role the IAM User
// Guide says that applications on EC2 are not subject to the one-hour limit, while
// reports from practice differ; it counts as unknown, and AWS's answer decides.
func chainingOf(arn string) chaining {
	switch {
	case instanceSession.MatchString(arn):
		return chainingUnknown
	case strings.Contains(arn, ":assumed-role/"):
		return chainingYes
	case arn == "":
		return chainingUnknown
	}
	return chainingNo
}

// exceedsMaximum reports whether AWS refused the length of the session alone.
// Both reasons come as ValidationError and are told apart by their text only:
// "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed
// by role chaining." and "… exceeds the MaxSessionDuration set for this role."
func exceedsMaximum(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "ValidationError" &&
		strings.Contains(api.ErrorMessage(), "DurationSeconds") &&
		strings.Contains(api.ErrorMessage(), "exceeds the")
}
