package signin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// Prompt is what a person needs in order to log in on another machine.
type Prompt struct {
	Address  string // to open
	Code     string // to type there
	Complete string // an address that holds the code; may be empty
	Expires  time.Duration
}

// deviceAnswer is the answer of the device authorization endpoint (RFC 8628,
// section 3.2).
type deviceAnswer struct {
	DeviceCode string  `json:"device_code"`
	UserCode   string  `json:"user_code"`
	Address    string  `json:"verification_uri"`
	Complete   string  `json:"verification_uri_complete"`
	ExpiresIn  float64 `json:"expires_in"`
	Interval   float64 `json:"interval"`
	refusal
}

// Intervals of polling (RFC 8628, section 3.5).
const (
	defaultInterval = 5 * time.Second
	slowDown        = 5 * time.Second
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// Device logs in with a browser on any machine. tell is given what the person
// needs; wait passes the time between two questions.
func (p *Provider) Device(ctx context.Context, tell func(Prompt), wait func(context.Context, time.Duration) error) (Tokens, error) {
	endpoint, err := p.endpoint("device_authorization_endpoint", p.meta.Device)
	if err != nil {
		return Tokens{}, err
	}
	var d deviceAnswer
	status, err := p.post(ctx, endpoint, p.offline(url.Values{"scope": {p.scope()}}), &d)
	if err != nil {
		return Tokens{}, err
	}
	if status != http.StatusOK {
		return Tokens{}, p.refused(status, d.refusal)
	}
	if d.DeviceCode == "" || d.UserCode == "" || CheckURL(d.Address) != nil {
		return Tokens{}, p.failed(0, "its answer to the device login is broken")
	}
	if d.Complete != "" && CheckURL(d.Complete) != nil {
		d.Complete = ""
	}
	patience := MaxWait
	if d.ExpiresIn > 0 && d.ExpiresIn < MaxWait.Seconds() {
		patience = time.Duration(d.ExpiresIn * float64(time.Second))
	}
	tell(Prompt{Address: d.Address, Code: d.UserCode, Complete: d.Complete, Expires: patience})
	return p.poll(ctx, d, p.cfg.Now().Add(patience), wait)
}

// poll asks for the tokens until the person has logged in or the code is over.
func (p *Provider) poll(ctx context.Context, d deviceAnswer, end time.Time, wait func(context.Context, time.Duration) error) (Tokens, error) {
	interval := defaultInterval
	if d.Interval > 0 && d.Interval < MaxWait.Seconds() {
		interval = time.Duration(d.Interval * float64(time.Second))
	}
	for {
		if err := wait(ctx, interval); err != nil {
			return Tokens{}, err
		}
		if !p.cfg.Now().Before(end) {
			return Tokens{}, &Error{Code: "expired_token", Message: "the code is no longer valid: nobody logged in in time"}
		}
		got, err := p.grant(ctx, url.Values{"grant_type": {deviceGrant}, "device_code": {d.DeviceCode}})
		if err == nil {
			return p.tokens(got, "")
		}
		var e *Error
		switch {
		case !errors.As(err, &e):
			return Tokens{}, err
		case e.Code == "authorization_pending":
		case e.Code == "slow_down":
			interval += slowDown
		case e.Unreachable && e.Code == "":
			interval *= 2 // RFC 8628, section 3.5: back off when it doesn't answer
		default:
			return Tokens{}, err
		}
	}
}

// Wait passes the time, or ends with the context.
func Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
