package oidc

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
)

// A time that never was would only puzzle whoever reads the log.
func TestTheLogSaysWhenTheKeysWereFetchedOnceTheyWere(t *testing.T) {
	var log bytes.Buffer
	k := &keySet{log: slog.New(slog.NewTextHandler(&log, nil)), now: time.Now}
	k.note(nil, errNoKeys)
	assert.Contains(t, log.String(), "can't be fetched")
	assert.NotContains(t, log.String(), "fetched=")
	k.note([]jose.JSONWebKey{{KeyID: "one"}}, nil)
	k.note(nil, errNoKeys)
	assert.Contains(t, log.String(), "fetched=20")
}
