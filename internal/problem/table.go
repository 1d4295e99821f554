package problem

import (
	"net/http"

	"breakglass/internal/breakglass"
)

// meaning is how one code is shown over HTTP.
type meaning struct {
	status int
	title  string
}

// meanings is the one table of codes, statuses and titles.
func meanings() map[breakglass.Code]meaning {
	return map[breakglass.Code]meaning{
		breakglass.CodeMalformed:            {http.StatusBadRequest, "The request can't be read"},
		breakglass.CodeUnauthenticated:      {http.StatusUnauthorized, "Not authenticated"},
		breakglass.CodeForbidden:            {http.StatusForbidden, "Not allowed"},
		breakglass.CodePolicyDenied:         {http.StatusForbidden, "Denied by policy"},
		breakglass.CodeMFARequired:          {http.StatusForbidden, "A second factor is needed"},
		breakglass.CodeMFAInvalid:           {http.StatusForbidden, "The second factor doesn't count"},
		breakglass.CodeMFAEnrolled:          {http.StatusConflict, "Already enrolled"},
		breakglass.CodeMFANotEnrolled:       {http.StatusNotFound, "Not enrolled"},
		breakglass.CodeProfileUnknown:       {http.StatusNotFound, "No such profile"},
		breakglass.CodeEventNotFound:        {http.StatusNotFound, "No such event"},
		breakglass.CodeRequestNotFound:      {http.StatusNotFound, "No such access request"},
		breakglass.CodeAlreadyRequested:     {http.StatusConflict, "Already requested"},
		breakglass.CodeAccessDenied:         {http.StatusForbidden, "No access"},
		breakglass.CodeRequestDenied:        {http.StatusForbidden, "The request is not allowed"},
		breakglass.CodeExtensionRefused:     {http.StatusForbidden, "The extension is not allowed"},
		breakglass.CodeNotFound:             {http.StatusNotFound, "No such path"},
		breakglass.CodeMethodNotAllowed:     {http.StatusMethodNotAllowed, "Method not allowed"},
		breakglass.CodeAlreadyActive:        {http.StatusConflict, "Already active"},
		breakglass.CodeInvalidTransition:    {http.StatusConflict, "Its state doesn't allow that"},
		breakglass.CodeTooLarge:             {http.StatusRequestEntityTooLarge, "The request is too large"},
		breakglass.CodeUnsupportedMediaType: {http.StatusUnsupportedMediaType, "Unsupported media type"},
		breakglass.CodeInvalidRequest:       {http.StatusUnprocessableEntity, "Invalid request"},
		breakglass.CodeIdempotencyMismatch:  {http.StatusUnprocessableEntity, "Idempotency key reused"},
		breakglass.CodeRateLimited:          {http.StatusTooManyRequests, "Rate limited"},
		breakglass.CodeCredentialsRefused:   {http.StatusBadGateway, "Credentials unavailable"},
		breakglass.CodeUnavailable:          {http.StatusServiceUnavailable, "Unavailable"},
		CodeInternal:                        {http.StatusInternalServerError, "Internal error"},
	}
}

var table = meanings() // never written to

// Codes lists every code with its status; the two of credentials_unavailable
// are told apart by Status.
func Codes() map[breakglass.Code]int {
	codes := map[breakglass.Code]int{}
	for code, m := range meanings() {
		codes[code] = m.status
	}
	return codes
}

// Status is the HTTP status and title of an error. A code that isn't in the
// table is a defect, and shown as one.
func Status(e *breakglass.Error) (status int, title string) {
	m, ok := table[e.Code]
	if !ok {
		m = table[CodeInternal]
	}
	if e.Code == breakglass.CodeCredentialsRefused && e.Temporary {
		m.status = http.StatusServiceUnavailable
	}
	return m.status, m.title
}
