// Package oidc authenticates callers by JSON Web Tokens of OpenID Connect
// issuers: people who logged in with `bgctl login --oidc`, and programs such as
// a CI system's jobs.
//
// Keys are fetched in the background and kept, so that a request waits for an
// issuer only when its token names a key that isn't known yet, and so that an
// issuer may be down for a while without locking anybody out.
package oidc
