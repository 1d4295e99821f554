package app

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io/fs"

	"breakglass/internal/authn/session"
	"breakglass/internal/mfa"
)

// devMFA checks second factors in development mode, under a key that is made on
// the first start and kept at path. No rule asks for one until somebody writes it
// into the policy.
func devMFA(path string) (*mfa.Config, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: crypto/rand aborts the program instead
	err := writeNew(path, []byte(base64.StdEncoding.EncodeToString(key)+"\n"))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return &mfa.Config{Keys: []session.KeySource{{File: path}}, Enrolment: mfa.EnrolmentOpen, Issuer: "breakglass-dev"}, nil
}
