// Package spec holds the contract of the HTTP API, so that the server can
// serve it and the tests can hold the server against it.
package spec

import _ "embed"

//go:embed openapi.yaml
var openAPI string

// OpenAPI returns openapi.yaml.
func OpenAPI() []byte { return []byte(openAPI) }
