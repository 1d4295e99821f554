package dynamodb

import "breakglass/internal/breakglass"

// factor is a person's second factor. One that was removed leaves an empty item:
// if the item went, its revisions would begin anew, and a transaction that has
// read an earlier factor under the same revision would pass for undisturbed.
type factor struct {
	guard
	value *breakglass.Factor // nil: there is none
}

func (f *factor) encode() item {
	if f.value == nil {
		return item{}
	}
	v := f.value
	return item{
		"name": text(v.Name), "sealed": text(v.Sealed), "key_id": text(v.KeyID), "made": number(micros(v.CreatedAt)),
		"confirmed": number(micros(v.ConfirmedAt)), "last_step": number(v.LastStep), "failures": number(int64(v.Failures)),
		"failed": number(micros(v.FailedAt)), "locked_until": number(micros(v.LockedUntil)), "invitation": text(v.Invitation),
		"invited_until": number(micros(v.InvitedUntil)),
	}
}

func (f *factor) decode(it item) error {
	f.value = nil
	if name := str(it["name"]); name != "" {
		f.value = &breakglass.Factor{
			Name: name, Sealed: str(it["sealed"]), KeyID: str(it["key_id"]), CreatedAt: fromMicros(num(it["made"])),
			ConfirmedAt: fromMicros(num(it["confirmed"])), LastStep: num(it["last_step"]), Failures: int(num(it["failures"])),
			FailedAt: fromMicros(num(it["failed"])), LockedUntil: fromMicros(num(it["locked_until"])), Invitation: str(it["invitation"]),
			InvitedUntil: fromMicros(num(it["invited_until"])),
		}
	}
	return nil
}

// factorKey keeps all of them together, so that an export finds them.
func factorKey(name string) key { return key{pkFactor, escape(name)} }

func (v *view) factor(name string) *factor {
	return guardOf(v, factorKey(name), func(g guard) *factor { return &factor{guard: g} })
}

// FindFactor implements breakglass.Tx.
func (t *tx) FindFactor(name string) (*breakglass.Factor, error) {
	if err := t.lookup("second factor of "+name, t.factor(name)); err != nil {
		return nil, err
	}
	f, err := use(t, t.v.factor(name))
	if err != nil {
		return nil, err
	}
	if f.value == nil {
		return nil, nil
	}
	out := *f.value
	return &out, nil
}

func (t *tx) factor(name string) bool { return name != "" && name == t.keys.Factor }

// PutFactor implements breakglass.Tx.
func (t *tx) PutFactor(f breakglass.Factor) error {
	if err := t.lookup("second factor of "+f.Name, t.factor(f.Name)); err != nil {
		return err
	}
	f.CreatedAt, f.ConfirmedAt, f.FailedAt = exactTime(f.CreatedAt), exactTime(f.ConfirmedAt), exactTime(f.FailedAt)
	f.LockedUntil, f.InvitedUntil = exactTime(f.LockedUntil), exactTime(f.InvitedUntil)
	t.writes = append(t.writes, write{factor: &factorWrite{f.Name, &f}})
	return nil
}

// DeleteFactor implements breakglass.Tx.
func (t *tx) DeleteFactor(name string) error {
	if err := t.lookup("second factor of "+name, t.factor(name)); err != nil {
		return err
	}
	t.writes = append(t.writes, write{factor: &factorWrite{name: name}})
	return nil
}

// factorWrite puts a factor, or removes it when there is no value.
type factorWrite struct {
	name  string
	value *breakglass.Factor
}

func (v *view) putFactor(w *factorWrite) error {
	f := v.factor(w.name)
	if err := sound(f); err != nil {
		return err
	}
	f.value, f.dirty = w.value, true
	return nil
}
