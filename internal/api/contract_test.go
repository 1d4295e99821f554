package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	spec "breakglass"
	"breakglass/internal/problem"
)

// contract is openapi.yaml, made strict: an object has no fields but those
// that are described.
type contract struct {
	doc    *openapi3.T
	router routers.Router

	mu   sync.Mutex
	seen map[string]bool // "operation status code"
}

// loadContract is shared by all tests of the package, so that at their end the
// answers that were never seen can be named.
var loadContract = sync.OnceValues(func() (*contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(spec.OpenAPI())
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	for _, s := range doc.Components.Schemas {
		closeObjects(s.Value)
	}
	doc.Servers = nil // any address will do
	router, err := gorillamux.NewRouter(doc)
	return &contract{doc: doc, router: router, seen: map[string]bool{}}, err
})

// closeObjects forbids fields that are not described.
func closeObjects(s *openapi3.Schema) {
	if s == nil {
		return
	}
	if len(s.Properties) > 0 && s.AdditionalProperties.Schema == nil {
		no := false
		s.AdditionalProperties.Has = &no
	}
	for _, p := range s.Properties {
		closeObjects(p.Value)
	}
	if s.Items != nil {
		closeObjects(s.Items.Value)
	}
	if s.AdditionalProperties.Schema != nil {
		closeObjects(s.AdditionalProperties.Schema.Value)
	}
}

// request is one call of a test.
type request struct {
	method, path string
	as           string // whose token goes along; nobody: none
	body         string
	contentType  string // application/json when there is a body
	header       http.Header
}

// answer is what came back.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
	closes bool // the connection ends with it
}

// call makes a request and holds the answer against the contract.
func (s *server) call(t testing.TB, in request) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), in.method, s.url+in.path, strings.NewReader(in.body))
	require.NoError(t, err)
	if in.body == "" {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	if in.contentType == "" && in.body != "" {
		in.contentType = "application/json"
	}
	if in.contentType != "" {
		req.Header.Set("Content-Type", in.contentType)
	}
	if in.as != nobody {
		req.Header.Set("Authorization", "Bearer "+tokenOf(in.as))
	}
	for name, values := range in.header {
		req.Header[name] = values
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	a := answer{t: t, status: resp.StatusCode, header: resp.Header, body: body, closes: resp.Close}
	c, err := loadContract()
	require.NoError(t, err)
	c.check(t, req, a)
	return a
}

// problem returns the problem document.
func (a answer) problem() problem.Problem {
	a.t.Helper()
	require.Equal(a.t, problem.ContentType, a.header.Get("Content-Type"), "%d %s", a.status, a.body)
	var p problem.Problem
	require.NoError(a.t, json.Unmarshal(a.body, &p))
	return p
}

// into decodes a result with the expected status.
func (a answer) into(status int, out any) {
	a.t.Helper()
	require.Equal(a.t, status, a.status, "%s", a.body)
	require.NoError(a.t, json.Unmarshal(a.body, out))
}

// everyAnswer are headers that come from HTTP itself.
var everyAnswer = []string{"Date", "Content-Length", "Content-Type", "Connection", "Transfer-Encoding", "X-Content-Type-Options", "Cache-Control", "Vary"}

// check fails when an answer isn't described: its status, content type,
// headers, body, or code.
func (c *contract) check(t testing.TB, req *http.Request, a answer) {
	t.Helper()
	assert.Equal(t, "nosniff", a.header.Get("X-Content-Type-Options"))
	assert.Regexp(t, `^[A-Za-z0-9._-]{8,64}$`, a.header.Get("X-Request-Id"))
	if req.Method == http.MethodHead {
		assert.Empty(t, a.body)
		return
	}
	if strings.HasPrefix(req.URL.Path, "/v1/") {
		assert.Equal(t, "no-store", a.header.Get("Cache-Control"))
	}
	var code string
	if a.header.Get("Content-Type") == problem.ContentType {
		p := a.problem()
		code = string(p.Code)
		assert.Equal(t, a.status, p.Status)
		assert.Equal(t, a.header.Get("X-Request-Id"), p.RequestID)
		if p.RetryAfterSeconds > 0 {
			assert.Equal(t, fmt.Sprint(p.RetryAfterSeconds), a.header.Get("Retry-After"))
		}
	}
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		c.checkOutside(t, req, a, code)
		return
	}
	if code == "method_not_allowed" || code == "not_found" || req.Method == http.MethodOptions {
		t.Errorf("%s %s is described but the server has no such call", req.Method, req.URL.Path)
		return
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	if err := openapi3filter.ValidateResponse(req.Context(), input); err != nil {
		t.Errorf("%s %s answers outside of its contract: %v\n%d %v\n%s", req.Method, req.URL.Path, err, a.status, a.header, a.body)
		return
	}
	described := route.Operation.Responses.Status(a.status)
	c.checkHeaders(t, req, described.Value, a)
	if codes := codesOf(described.Value); code != "" && !slices.Contains(codes, code) {
		t.Errorf("%s %s answers %d with code %q, described are %v", req.Method, req.URL.Path, a.status, code, codes)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[strings.TrimSpace(fmt.Sprintf("%s %d %s", route.Operation.OperationID, a.status, code))] = true
}

// checkOutside checks an answer to something that isn't in the contract.
func (c *contract) checkOutside(t testing.TB, req *http.Request, a answer, code string) {
	t.Helper()
	if req.Method == http.MethodOptions && a.status == http.StatusNoContent {
		assert.NotEmpty(t, a.header.Get("Allow"))
		return
	}
	switch a.status {
	case http.StatusNotFound:
		assert.Contains(t, []string{"not_found", "event_not_found", "request_not_found"}, code, "%s %s", req.Method, req.URL.Path)
	case http.StatusMethodNotAllowed:
		assert.Equal(t, "method_not_allowed", code)
		assert.NotEmpty(t, a.header.Get("Allow"))
	default:
		t.Errorf("%s %s is not described, and answered with %d", req.Method, req.URL, a.status)
	}
	var v any
	require.NoError(t, json.Unmarshal(a.body, &v))
	assert.NoError(t, c.doc.Components.Schemas["Problem"].Value.VisitJSON(v))
}

func (c *contract) checkHeaders(t testing.TB, req *http.Request, described *openapi3.Response, a answer) {
	t.Helper()
	for name := range a.header {
		found := slices.Contains(everyAnswer, name)
		for known := range described.Headers {
			found = found || http.CanonicalHeaderKey(known) == name
		}
		assert.True(t, found, "%s %s answers %d with the header %s, which is not described", req.Method, req.URL.Path, a.status, name)
	}
}

func codesOf(r *openapi3.Response) []string {
	var codes []string
	list, _ := r.Extensions["x-codes"].([]any)
	for _, c := range list {
		codes = append(codes, fmt.Sprint(c))
	}
	return codes
}

// unseen lists the answers that are described and that no test has seen.
func (c *contract) unseen() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var missing []string
	for _, item := range c.doc.Paths.Map() {
		for _, op := range item.Operations() {
			for status, r := range op.Responses.Map() {
				want := []string{op.OperationID + " " + status}
				if codes := codesOf(r.Value); len(codes) > 0 {
					want = want[:0]
					for _, code := range codes {
						want = append(want, op.OperationID+" "+status+" "+code)
					}
				}
				for _, w := range want {
					if !c.seen[w] {
						missing = append(missing, w)
					}
				}
			}
		}
	}
	sort.Strings(missing)
	return missing
}

// TestMain adds the last check: with every test run, every described answer
// must have been seen.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	whole := true
	for _, name := range []string{"test.run", "test.skip", "test.fuzz", "test.list"} {
		whole = whole && flag.Lookup(name).Value.String() == ""
	}
	if code == 0 && whole && !testing.Short() {
		c, err := loadContract()
		if err != nil {
			panic(err)
		}
		if missing := c.unseen(); len(missing) > 0 {
			fmt.Printf("FAIL: openapi.yaml describes answers that no test has seen:\n  %s\n", strings.Join(missing, "\n  "))
			code = 1
		}
	}
	os.Exit(code)
}

func TestEveryRouteIsDescribedAndEveryDescribedCallExists(t *testing.T) {
	c, err := loadContract()
	require.NoError(t, err)
	var described []string
	for path, item := range c.doc.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	s := start(t, options{awsLogin: newAWS(t)})
	assert.ElementsMatch(t, described, s.handler.Routes())
}

func TestTheContractIsServed(t *testing.T) {
	s := start(t, options{})
	a := s.call(t, request{method: "GET", path: "/openapi.yaml"})
	assert.Equal(t, spec.OpenAPI(), a.body)
	assert.Equal(t, "application/yaml", a.header.Get("Content-Type"))
}
