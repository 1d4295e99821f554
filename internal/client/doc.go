// Package client speaks the HTTP API of breakglassd. It uses the standard
// library alone, so that programs which link it stay small and start fast.
//
// A call fails with one of: *RefusedError (the server answered with a problem;
// it wraps the *breakglass.Error), *UnreachableError (no answer came), *ProtocolError (something
// answered, but not as breakglassd does), or the context's error.
package client
