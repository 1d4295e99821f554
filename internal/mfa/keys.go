package mfa

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"breakglass/internal/authn/session"
)

// keySize is that of AES-256.
const keySize = 32

// maxKeyText bounds what is read of a file.
const maxKeyText = 4 << 10

// errNoKey says that none of the keys sealed a secret.
var errNoKey = errors.New("no key of auth.mfa.keys has the id with which it was sealed")

// keys seal with the first one and open with the one that sealed, so that a key
// is replaced by putting the new one in front, and removed when every secret is
// sealed anew, which happens as its owner uses it.
type keys []key

type key struct {
	id   string
	aead cipher.AEAD
}

// loadKeys reads the keys. Its error joins what is wrong with each, and repeats
// none.
func loadKeys(sources []session.KeySource, lookup func(string) (string, bool)) (keys, error) {
	var ks keys
	var errs []error
	for i, s := range sources {
		raw, err := readKey(s, lookup)
		if err == nil {
			err = ks.add(raw)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("auth.mfa.keys[%d]: %w", i, err))
		}
	}
	if len(sources) == 0 {
		errs = append(errs, errors.New("auth.mfa.keys: there is none"))
	}
	return ks, errors.Join(errs...)
}

func readKey(s session.KeySource, lookup func(string) (string, bool)) ([]byte, error) {
	text, err := readText(s, lookup)
	if err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != keySize {
		return nil, fmt.Errorf("a key is %d bytes in base64, such as the output of: openssl rand -base64 32", keySize)
	}
	distinct := map[byte]bool{}
	for _, b := range raw {
		distinct[b] = true
	}
	if len(distinct) < 8 { // 32 random bytes have fewer with a probability of 10⁻³⁵
		return nil, errors.New("the key repeats a few bytes; use the output of: openssl rand -base64 32")
	}
	return raw, nil
}

func readText(s session.KeySource, lookup func(string) (string, bool)) (string, error) {
	if s.File == "" {
		text, ok := lookup(s.Env)
		if !ok {
			return "", fmt.Errorf("the environment variable %s isn't set", s.Env)
		}
		return text, nil
	}
	f, err := os.Open(s.File)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxKeyText))
	return string(b), err
}

func (ks *keys) add(raw []byte) error {
	block, err := aes.NewCipher(raw)
	if err != nil {
		return err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	id := keyID(raw)
	for _, k := range *ks {
		if k.id == id {
			return errors.New("is there twice")
		}
	}
	*ks = append(*ks, key{id, aead})
	return nil
}

// keyID names a key without telling anything about it. It is made of the key
// itself, so no configuration can give one key the name of another.
func keyID(raw []byte) string {
	sum := sha256.Sum256(append([]byte("breakglass mfa key id:"), raw...))
	return hex.EncodeToString(sum[:6])
}

// associated ties a sealed secret to its owner: in somebody else's record it
// doesn't open.
func associated(name, keyID string) []byte {
	return []byte("breakglass totp v1\x00" + keyID + "\x00" + name)
}

// seal seals under the first key.
func (ks keys) seal(name string, secret []byte) (sealed, id string) {
	k := ks[0]
	nonce := make([]byte, k.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails: crypto/rand aborts the program instead
	return base64.RawStdEncoding.EncodeToString(k.aead.Seal(nonce, nonce, secret, associated(name, k.id))), k.id
}

func (ks keys) open(name, sealed, id string) ([]byte, error) {
	for _, k := range ks {
		if k.id != id {
			continue
		}
		raw, err := base64.RawStdEncoding.DecodeString(sealed)
		if err != nil || len(raw) < k.aead.NonceSize() {
			return nil, errors.New("the sealed secret is damaged")
		}
		n := k.aead.NonceSize()
		secret, err := k.aead.Open(nil, raw[:n], raw[n:], associated(name, k.id))
		if err != nil {
			return nil, errors.New("the sealed secret was changed, or belongs to somebody else")
		}
		return secret, nil
	}
	return nil, fmt.Errorf("%w (%s)", errNoKey, id)
}
