// Package awsiam lets callers in who prove an AWS identity. The caller signs a
// GetCallerIdentity request to STS; this server makes the same request anew,
// sends it to STS with the caller's signature, and believes what STS answers.
//
// What the caller sends is never forwarded: it is read into a signed identity
// (Proof) of five texts in a narrow form, and the request is composed from
// those and from what this server knows by itself. The signature covers this
// server's name, so that it is worth nothing at another server, and a nonce that
// this server made and takes once, so that it is worth nothing a second time.
package awsiam
