package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"breakglass/internal/breakglass"
)

// json answers with a JSON document. An error to encode it is a defect.
func (c *call) json(status int, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // it is never HTML, and nosniff says so
	if err := enc.Encode(v); err != nil {
		return err
	}
	return c.bytes(status, c.h.typeJSON, b.Bytes())
}

// bytes answers with a document that is encoded already.
func (c *call) bytes(status int, contentType []string, b []byte) error {
	h := c.w.Header()
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{itoa(int64(len(b)))}
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b) // if it fails the caller is gone
	return nil
}

// page is a listing.
type page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor,omitempty"`
}

func notFound(*call) error {
	return &breakglass.Error{Code: breakglass.CodeNotFound, Message: "There is nothing at this path. /openapi.yaml describes what there is."}
}

// methodNotAllowed says which methods the path has, and answers OPTIONS.
func methodNotAllowed(c *call, router chi.Router) error {
	path := c.r.URL.RawPath // what chi routes by
	if path == "" {
		path = c.r.URL.Path
	}
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		if router.Match(chi.NewRouteContext(), method, path) {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		return notFound(c)
	}
	allow := strings.Join(append(allowed, http.MethodOptions), ", ")
	c.w.Header().Set("Allow", allow)
	if c.r.Method == http.MethodOptions {
		c.quiet = true
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return &breakglass.Error{Code: breakglass.CodeMethodNotAllowed, Message: "This path has the methods " + allow + "."}
}
