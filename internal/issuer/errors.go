package issuer

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"breakglass/internal/breakglass"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// When the caller may try again. STS counts requests per second, so throttling
// is over soon; an outage isn't.
const (
	retryThrottled = 5 * time.Second
	retryFailing   = 10 * time.Second
)

// unknownError is the SDK's code for an answer in which it finds no error of AWS.
const unknownError = "UnknownError"

// refusal turns an error of AssumeRole into an answer for the person waiting.
// AWS's own text stays in the cause, for the log: it names accounts and roles
// of the server.
func refusal(ctx context.Context, p breakglass.Profile, g breakglass.Grant, err error) *breakglass.Error {
	if ctx.Err() != nil {
		return temporary(g, err, 0, "The request was given up before AWS answered.")
	}
	var api smithy.APIError
	status := httpStatus(err)
	switch {
	case errors.As(err, &api) && isThrottle(api.ErrorCode(), status):
		return temporary(g, err, retryThrottled, "AWS is throttling requests for credentials ("+errorCode(api)+").")
	case errors.As(err, &api) && isFailure(api, status):
		return temporary(g, err, retryFailing, "AWS STS is failing right now ("+errorCode(api)+").")
	case errors.As(err, &api) && api.ErrorCode() == unknownError:
		return unintelligible(g, err)
	case errors.As(err, &api):
		return permanent(g, err, explain(p, api))
	case isUnreachable(err):
		return temporary(g, err, retryFailing, "AWS STS can't be reached, or doesn't answer in time.")
	case status >= 400:
		return unintelligible(g, err)
	}
	var garbled *smithy.DeserializationError
	if errors.As(err, &garbled) {
		return unintelligible(g, err)
	}
	return permanent(g, err, "The server could not even ask AWS for credentials: its STS settings need attention.")
}

// explain says what a refusal by AWS most likely means and who can change it.
func explain(p breakglass.Profile, api smithy.APIError) string {
	refused := "AWS refused credentials for " + p.RoleARN + " (" + errorCode(api) + "). "
	switch api.ErrorCode() {
	case "AccessDenied", "AccessDeniedException":
		return refused + explainDenied(p, api.ErrorMessage())
	case "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException",
		"InvalidAccessKeyId", "MissingAuthenticationToken", "AuthFailure", "IncompleteSignature":
		return refused + "The server's own AWS credentials are not accepted; whoever operates it has to renew them."
	case "SignatureDoesNotMatch", "RequestExpired", "RequestTimeTooSkewed":
		return refused + "Either the server's own secret key is wrong, or its clock differs from AWS's by minutes."
	case "RegionDisabledException":
		return refused + "STS is not activated in the server's region for that account: activate it in the account settings of IAM, " +
			"or set sts.region to another one."
	case "PackedPolicyTooLarge", "PackedPolicyTooLargeException":
		return refused + "The session policy and tags are too large together: set session_tags: false for profile " + p.Name + "."
	case "MalformedPolicyDocument", "MalformedPolicyDocumentException":
		return refused + "AWS doesn't take the policy that ends the session in time. This is a fault of the server; report it."
	case "ValidationError":
		if exceedsMaximum(api) {
			return refused + "The role allows no session this long: set max_session of profile " + p.Name + " to the role's MaxSessionDuration."
		}
		return refused + "Check role_arn and external_id of profile " + p.Name + "."
	}
	return refused + "The server's log has AWS's words."
}

func explainDenied(p breakglass.Profile, message string) string {
	switch {
	case strings.Contains(message, "sts:SetSourceIdentity"):
		return "The role's trust policy and the server's own policy must both allow sts:SetSourceIdentity, and the server's own " +
			"session must not carry a source identity already. Or set source_identity: false for profile " + p.Name + "."
	case strings.Contains(message, "sts:TagSession"):
		return "The role's trust policy and the server's own policy must both allow sts:TagSession. " +
			"Or set session_tags: false for profile " + p.Name + "."
	case strings.Contains(message, "service control policy"), strings.Contains(message, "resource control policy"):
		return "A control policy of the AWS organization forbids it."
	}
	hint := "Either the role doesn't exist, or its trust policy doesn't let the server assume it"
	if p.ExternalID != "" {
		hint += " with the configured external_id"
	}
	return hint + ", or the server's own policy lacks sts:AssumeRole on it."
}

// ownCredentials is the answer when the server can't get credentials of its own.
func ownCredentials(ctx context.Context, g breakglass.Grant, err error) *breakglass.Error {
	if ctx.Err() != nil {
		return temporary(g, err, 0, "The request was given up before AWS answered.")
	}
	if isUnreachable(err) {
		return temporary(g, err, retryFailing, "The server can't get AWS credentials of its own: none are configured, or their source doesn't answer.")
	}
	return permanent(g, err, "The server has no AWS credentials of its own, or can't renew them; whoever operates it has to look.")
}

// unintelligible is the answer when STS said something that isn't STS.
func unintelligible(g breakglass.Grant, err error) *breakglass.Error {
	return temporary(g, err, retryFailing, "The answer of AWS STS makes no sense; perhaps a proxy answered in its place.")
}

// clockOff is the answer when the credentials are over before they are out.
func clockOff(g breakglass.Grant, err error) *breakglass.Error {
	return permanent(g, err, "The credentials that AWS made are already over by this server's clock: the clock is wrong.")
}

func temporary(g breakglass.Grant, cause error, after time.Duration, words string) *breakglass.Error {
	e := refused(g, cause, words+" "+wordsFor(g).stays+": ask for the credentials again.")
	e.Temporary, e.RetryAfter = true, after
	return e
}

func permanent(g breakglass.Grant, cause error, words string) *breakglass.Error {
	return refused(g, cause, words+" "+wordsFor(g).stays+": once that is put right, ask for the credentials again.")
}

func refused(g breakglass.Grant, cause error, message string) *breakglass.Error {
	return &breakglass.Error{Code: breakglass.CodeCredentialsRefused, EventID: g.EventID(), AccessRequestID: g.AccessRequestID(),
		Message: message, Cause: cause}
}

// tooLate is the answer when the grant leaves no time to use credentials.
func tooLate(g breakglass.Grant) *breakglass.Error {
	w := wordsFor(g)
	return &breakglass.Error{Code: breakglass.CodeInvalidTransition, EventID: g.EventID(), AccessRequestID: g.AccessRequestID(),
		Message: w.name + " is over or ends within a second: too late for credentials. If access is still needed, " + w.next + "."}
}

// words are how a message speaks of a grant.
type words struct {
	name  string // at the beginning of a sentence
	stays string // what a failure of AWS leaves as it is
	next  string // what to do once the grant is over
}

func wordsFor(g breakglass.Grant) words {
	switch g.Link {
	case breakglass.LinkBreakglass:
		return words{"Event " + g.ID, "Your event stays active", "invoke again"}
	case breakglass.LinkRequest:
		return words{"Access request " + g.ID, "Your access request stays approved", "make another request"}
	}
	// The id of a decision means nothing to the person: it has left no trace yet.
	return words{"Your standing access", "Your standing access stays as it is", "ask again in a second: something else may give it"}
}

// errorCode is AWS's code, as far as it looks like one: the text comes from
// the network and goes to a terminal.
func errorCode(api smithy.APIError) string {
	code := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return -1
	}, api.ErrorCode())
	if code = code[:min(len(code), 64)]; code == "" {
		return "no error code"
	}
	return code
}

func httpStatus(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

func isThrottle(code string, status int) bool {
	_, listed := retry.DefaultThrottleErrorCodes[code]
	return listed || status == http.StatusTooManyRequests
}

func isFailure(api smithy.APIError, status int) bool {
	switch api.ErrorCode() {
	case "InternalFailure", "InternalError", "ServiceUnavailable", "RequestTimeout", "RequestTimeoutException":
		return true
	}
	return status >= http.StatusInternalServerError
}

func isUnreachable(err error) bool {
	var n net.Error
	var send *smithyhttp.RequestSendError
	var canceled *smithy.CanceledError
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.As(err, &n) || errors.As(err, &send) || errors.As(err, &canceled) || httpStatus(err) >= 500
}
