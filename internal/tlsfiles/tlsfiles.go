// Package tlsfiles keeps the server's certificate in force: it is renewed while
// the server runs, and a broken renewal leaves the one before.
package tlsfiles

import (
	"context"
	"crypto/tls"
	"time"

	"breakglass/internal/reload"
)

// Keeper serves the certificate of its files. It is safe for concurrent use.
type Keeper struct {
	files *reload.File[*Material]
}

// Open reads the files. An error says why they can't be served; later changes
// that can't be leave what is in force, and notify is told.
func Open(files Files, now func() time.Time, notify func(reload.Change)) (*Keeper, error) {
	k := &Keeper{}
	parse := func(data [][]byte) (*Material, error) {
		m, err := files.parse(data)
		if err != nil || k.files == nil { // at start there is nothing better
			return m, err
		}
		if have, err := k.files.Current(); err == nil {
			return m, m.noWorseThan(have, now())
		}
		return m, nil
	}
	k.files = reload.OpenSet(files.paths(), parse, notify)
	_, err := k.files.Current()
	if err != nil {
		return nil, k.files.Status().Err
	}
	return k, nil
}

// Config is what a listener is served with. Each handshake takes the
// certificate that is in force then; connections that are open go on.
func (k *Keeper) Config() *tls.Config {
	c := modern()
	c.SessionTicketsDisabled = k.current().config.SessionTicketsDisabled
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.current().config, nil }
	return c
}

func (k *Keeper) current() *Material {
	m, _ := k.files.Current() // Open has seen to it that there is one
	return m
}

// NotAfter is when the certificate in force ends.
func (k *Keeper) NotAfter() time.Time { return k.current().NotAfter }

// Status says what is in force and what is wrong with the files on disk.
func (k *Keeper) Status() reload.Status { return k.files.Status() }

// Run takes up changes of the files until ctx ends.
func (k *Keeper) Run(ctx context.Context) { k.files.Run(ctx) }

// Reload takes up a change now.
func (k *Keeper) Reload() { k.files.Reload() }
