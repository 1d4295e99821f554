package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of a webhook's secret (Standard Webhooks 1.0.0, in bytes), and how
// many secrets may be in use at once while they are rotated.
const (
	minSecret  = 24
	maxSecret  = 64
	maxSecrets = 5
)

// signingKeys are the secrets of a webhook, the newest first.
type signingKeys struct {
	opaque
	keys [][]byte
}

// parseSecrets reads one or more secrets, separated by white space. Its errors
// never quote them.
func parseSecrets(text string) (signingKeys, error) {
	fields := strings.Fields(text)
	switch {
	case len(fields) == 0:
		return signingKeys{}, errors.New("is empty; it must hold whsec_ and base64 of 24 to 64 bytes")
	case len(fields) > maxSecrets:
		return signingKeys{}, fmt.Errorf("holds %d secrets, at most %d can be in use", len(fields), maxSecrets)
	}
	s := signingKeys{opaque: "[secret]"}
	for i, f := range fields {
		encoded, ok := strings.CutPrefix(f, "whsec_")
		if !ok {
			return signingKeys{}, fmt.Errorf("secret %d doesn't begin with whsec_", i+1)
		}
		key, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil { // the cause would quote a part of it
			return signingKeys{}, fmt.Errorf("secret %d isn't base64 after whsec_", i+1)
		}
		if len(key) < minSecret || len(key) > maxSecret {
			return signingKeys{}, fmt.Errorf("secret %d has %d bytes, must have %d to %d", i+1, len(key), minSecret, maxSecret)
		}
		s.keys = append(s.keys, key)
	}
	return s, nil
}

// sign returns the value of webhook-signature: one signature for each secret.
func (s signingKeys) sign(id string, at time.Time, body []byte) string {
	sigs := make([]string, 0, len(s.keys))
	for _, k := range s.keys {
		m := hmac.New(sha256.New, k)
		m.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		m.Write(body)
		sigs = append(sigs, "v1,"+base64.StdEncoding.EncodeToString(m.Sum(nil)))
	}
	return strings.Join(sigs, " ")
}
