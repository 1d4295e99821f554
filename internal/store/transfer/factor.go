package transfer

import (
	"errors"
	"fmt"
	"time"

	"breakglass/internal/breakglass"
)

const kindFactor = "factor"

// factorLine is a second factor. Its secret stays sealed: whoever has an export
// still needs the key.
type factorLine struct {
	Kind         string    `json:"kind"`
	Name         string    `json:"name"`
	Sealed       string    `json:"sealed"`
	KeyID        string    `json:"key_id"`
	CreatedAt    time.Time `json:"created_at"`
	ConfirmedAt  time.Time `json:"confirmed_at,omitzero"`
	LastStep     int64     `json:"last_step"`
	Failures     int       `json:"failures"`
	FailedAt     time.Time `json:"failed_at,omitzero"`
	LockedUntil  time.Time `json:"locked_until,omitzero"`
	Invitation   string    `json:"invitation"`
	InvitedUntil time.Time `json:"invited_until,omitzero"`
}

// factor verifies a line that is to hold a second factor.
func (c *checker) factor(line []byte) (breakglass.Factor, error) {
	r, err := decode[factorLine](line)
	if err != nil {
		return breakglass.Factor{}, err
	}
	if c.counts.Factors > 0 && r.Name <= c.lastFactor {
		return breakglass.Factor{}, errors.New("the second factors are not in the order of their names, or one is repeated")
	}
	good := r.Name != "" && r.Failures >= 0 && storable(r.CreatedAt)
	for _, t := range []time.Time{r.ConfirmedAt, r.FailedAt, r.LockedUntil, r.InvitedUntil} {
		good = good && (t.IsZero() || storable(t))
	}
	if !good {
		return breakglass.Factor{}, errors.New("the second factor is damaged")
	}
	c.lastFactor = r.Name
	c.counts.Factors++
	return breakglass.Factor{Name: r.Name, Sealed: r.Sealed, KeyID: r.KeyID, CreatedAt: r.CreatedAt, ConfirmedAt: r.ConfirmedAt,
		LastStep: r.LastStep, Failures: r.Failures, FailedAt: r.FailedAt, LockedUntil: r.LockedUntil, Invitation: r.Invitation,
		InvitedUntil: r.InvitedUntil}, nil
}

// Factor writes the next second factor, by name.
func (t *Writer) Factor(f breakglass.Factor) error {
	line, err := encode(factorLine{kindFactor, f.Name, f.Sealed, f.KeyID, f.CreatedAt, f.ConfirmedAt, f.LastStep, f.Failures, f.FailedAt,
		f.LockedUntil, f.Invitation, f.InvitedUntil})
	if err == nil {
		_, err = t.check.factor(line)
	}
	if err != nil {
		return fmt.Errorf("second factor of %q: %w", f.Name, err)
	}
	return t.write(line)
}
