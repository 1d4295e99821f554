package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"breakglass/internal/audit"
	"breakglass/internal/cli/settings"
)

// rememberedHead is the last head that a verification of a server's trail
// found. The next one compares the trail with it: a chain alone doesn't show
// that its end was cut off.
type rememberedHead struct {
	Server string    `json:"server"`
	Seq    int64     `json:"seq"`
	Hash   string    `json:"hash"`
	At     time.Time `json:"verified_at"`

	path string
}

func (h rememberedHead) anchor() audit.Anchor { return audit.Anchor{Seq: h.Seq, Hash: h.Hash} }

// recallHead reads the head that is remembered for the server; a zero Seq when
// there is none. What is damaged is an error: it may have been somebody's aim.
func recallHead(stateDir, server string) (rememberedHead, error) {
	sum := sha256.Sum256([]byte(server))
	h := rememberedHead{Server: server, path: filepath.Join(stateDir, "head-"+hex.EncodeToString(sum[:16])+".json")}
	data, err := os.ReadFile(h.path)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, fmt.Errorf("read the remembered head: %w", err)
	}
	read := h
	if err := json.Unmarshal(data, &read); err == nil {
		_, err = audit.ParseAnchor(read.anchor().String())
		if err == nil && read.Server == server {
			return read, nil
		}
	}
	return h, fmt.Errorf("%s doesn't hold a head of %s; --no-remember goes without it, and without the file the next run begins a new one", h.path, server)
}

// keep remembers a head for the next run, in a file that its owner alone can read.
func (h rememberedHead) keep(head audit.Anchor, now time.Time) error {
	h.Seq, h.Hash, h.At = head.Seq, head.Hash, now.UTC().Truncate(time.Second)
	data, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("remember the head: %w", err)
	}
	if err := settings.WritePrivate(h.path, append(data, '\n')); err != nil {
		return fmt.Errorf("remember the head: %w", err)
	}
	return nil
}
