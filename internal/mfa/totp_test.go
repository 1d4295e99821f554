package mfa

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// RFC 6238, appendix B: the values for SHA-1.
func TestCodesAreThoseOfRFC6238(t *testing.T) {
	secret := []byte("12345678901234567890")
	for at, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		assert.Equal(t, want, code(secret, stepAt(time.Unix(at, 0)), 8), "at %d", at)
		assert.Equal(t, want[2:], code(secret, stepAt(time.Unix(at, 0)), 6), "six digits are the last ones")
	}
}

// RFC 4226, appendix D.
func TestCodesAreThoseOfRFC4226(t *testing.T) {
	for step, want := range []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"} {
		assert.Equal(t, want, code([]byte("12345678901234567890"), int64(step), 6), "step %d", step)
	}
}

func TestACodeIsGoodOneStepBeforeAndAfter(t *testing.T) {
	secret := []byte("12345678901234567890")
	now := time.Unix(1234567890, 0)
	for off, good := range map[int64]bool{-2: false, -1: true, 0: true, 1: true, 2: false} {
		step := stepAt(now) + off
		want := int64(0)
		if good {
			want = step
		}
		assert.Equal(t, want, find(secret, code(secret, step, 6), now), "%d steps off", off)
	}
	assert.Zero(t, find(secret, "", now))
	assert.Zero(t, find(secret, "000000", now))
	assert.Zero(t, find(secret, code(secret, stepAt(now), 8), now), "a longer one")
	// The edge of a step, to the second.
	assert.Equal(t, stepAt(time.Unix(29, 0))+1, stepAt(time.Unix(30, 0)))
}
