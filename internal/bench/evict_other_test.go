//go:build !linux

package bench

import "errors"

func evict(string) error { return errors.ErrUnsupported }
