// Package mfa makes and checks second factors: TOTP (RFC 6238) with secrets that
// are sealed wherever they are kept.
package mfa
