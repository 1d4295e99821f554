package access

import (
	"fmt"
	"time"

	"breakglass/internal/breakglass"
)

// denial says which rule keeps the profile from the caller, and for how long
// where its window closes.
func (r *Rule) denial(profile string, at time.Time) string {
	words := fmt.Sprintf("Access rule %q keeps standing access to profile %q from you.", r.Name, profile)
	if until := r.Window.Until(at); !until.IsZero() {
		words += fmt.Sprintf(" It applies %s, now until %s.", r.Window, r.Window.In(until))
	}
	return words
}

// noRule says that no rule applies, and when one that allows opens next.
func (p *Policy) noRule(subject breakglass.Subject, profile string, at time.Time) string {
	words := fmt.Sprintf("No access rule gives you standing access to profile %q now.", profile)
	if next := p.opensNext(subject, profile, at); next != nil {
		words += fmt.Sprintf(" There is rule %q. %s", next.Name, next.Window.Closed(at))
	}
	return words
}

// opensNext returns the allow rule about both that opens next, unless another
// rule would decide then; nil when there is none.
func (p *Policy) opensNext(subject breakglass.Subject, profile string, at time.Time) *Rule {
	var next *Rule
	var opens time.Time
	for i := range p.rules {
		r := &p.rules[i]
		if r.Deny || !r.about(subject, profile) {
			continue
		}
		when := r.Window.NextWindow(at)
		if when.IsZero() || next != nil && !when.Before(opens) {
			continue
		}
		if then, _ := p.find(subject, profile, when); then == r {
			next, opens = r, when
		}
	}
	return next
}
