// Package vault keeps secrets of bgctl where only the person's own session can
// read them: they are sealed with a key that the operating system's keyring
// holds. The sealed text itself is for a file, because keyrings differ in how
// much they take, and some take less than one token.
package vault

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/zalando/go-keyring"
)

// service is what the keys are filed under.
const service = "bgctl"

// patience is how long to wait for the keyring: the person may have to unlock
// it first.
const patience = 60 * time.Second

// Available reports whether there may be a keyring. Where nothing could answer,
// asking would start programs or wait in vain.
func Available(getenv func(string) string) bool {
	if getenv("BGCTL_KEYRING") == "off" {
		return false
	}
	switch runtime.GOOS {
	case "darwin", "windows":
		return true
	}
	// The Secret Service is asked over the session bus.
	if getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		return true
	}
	_, err := os.Stat(filepath.Join("/run/user", strconv.Itoa(os.Getuid()), "bus"))
	return err == nil
}

// Seal encrypts secret with the key of id, which is made when it isn't there.
func Seal(ctx context.Context, id string, secret []byte) ([]byte, error) {
	key, err := fetch(ctx, id)
	if errors.Is(err, keyring.ErrNotFound) {
		key = make([]byte, 32)
		_, _ = rand.Read(key) // never fails: crypto/rand aborts the program instead
		err = do(ctx, func() error { return keyring.Set(service, id, base64.StdEncoding.EncodeToString(key)) })
	}
	if err != nil {
		return nil, fmt.Errorf("the keyring: %w", err)
	}
	box, err := newBox(key)
	if err != nil {
		return nil, err
	}
	return box.Seal(nil, nil, secret, []byte(id)), nil
}

// Open is the opposite of Seal.
func Open(ctx context.Context, id string, sealed []byte) ([]byte, error) {
	key, err := fetch(ctx, id)
	if errors.Is(err, keyring.ErrNotFound) {
		return nil, errors.New("the keyring no longer has the key of this login")
	}
	if err != nil {
		return nil, fmt.Errorf("the keyring: %w", err)
	}
	box, err := newBox(key)
	if err != nil {
		return nil, err
	}
	secret, err := box.Open(nil, nil, sealed, []byte(id))
	if err != nil {
		return nil, errors.New("the stored login doesn't fit its key in the keyring")
	}
	return secret, nil
}

// Remove forgets the key of id: what was sealed with it can't be opened again.
func Remove(ctx context.Context, id string) error {
	err := do(ctx, func() error { return keyring.Delete(service, id) })
	if err != nil && !errors.Is(err, keyring.ErrNotFound) {
		return fmt.Errorf("the keyring: %w", err)
	}
	return nil
}

func fetch(ctx context.Context, id string) ([]byte, error) {
	text, err := bounded(ctx, func() (string, error) { return keyring.Get(service, id) })
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(text)
}

// newBox is AES-256-GCM with random nonces that stand before the text.
func newBox(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errors.New("the key in the keyring is damaged")
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// bounded bounds a call that knows no context.
func bounded[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("no answer: %w", ctx.Err())
	}
}

func do(ctx context.Context, f func() error) error {
	_, err := bounded(ctx, func() (struct{}, error) { return struct{}{}, f() })
	return err
}
