package api

import (
	"fmt"
	"strconv"
	"strings"

	"breakglass/internal/breakglass"
)

// maxFaults bounds errors[]: a caller chooses how many fields are wrong.
const maxFaults = 50

// faults collects everything that is wrong with a request, so that one answer
// names it all.
type faults struct {
	list    []breakglass.FieldError
	omitted int
}

// add notes what is wrong with a field; an empty problem is none.
func (f *faults) add(field, problem string) {
	switch {
	case problem == "":
	case len(f.list) >= maxFaults-1:
		f.omitted++
	default:
		f.list = append(f.list, breakglass.FieldError{Field: field, Message: problem})
	}
}

// has reports whether something is known to be wrong with a field.
func (f *faults) has(field string) bool {
	for _, fault := range f.list {
		if fault.Field == field {
			return true
		}
	}
	return false
}

// err is nil when nothing is wrong.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	if f.omitted > 0 {
		f.list = append(f.list, breakglass.FieldError{Field: "…", Message: fmt.Sprintf("%d more faults are not listed", f.omitted)})
		f.omitted = 0
	}
	return breakglass.InvalidRequest(f.list)
}

// maxShownName is the longest name of an unknown field that is repeated to the
// caller, in bytes.
const maxShownName = 64

// shown is a name that the caller chose, in a form that is safe to repeat.
func shown(name string) string {
	if len(name) > maxShownName {
		name = strings.ToValidUTF8(name[:maxShownName], "") + "…"
	}
	if breakglass.CheckName(name) != "" {
		return strconv.QuoteToASCII(name)
	}
	return name
}
