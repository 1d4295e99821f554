package api

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"

	"breakglass/internal/breakglass"
)

// invokeRequest is the body of POST /v1/breakglass. The tags name the domain's
// own checks, so that there is one definition of what is valid.
type invokeRequest struct {
	Profile         string  `json:"profile" validate:"required,name"`
	ReasonCode      string  `json:"reason_code" validate:"required,reason_code"`
	Justification   string  `json:"justification" validate:"required,justification"`
	Ticket          string  `json:"ticket" validate:"ticket"`
	Invoker         *string `json:"invoker" validate:"omitnil,person"`
	DurationSeconds *int64  `json:"duration_seconds" validate:"omitnil,duration_seconds"`
	TOTP            *string `json:"totp" validate:"omitnil,totp"`
}

func (in *invokeRequest) fields() fields {
	return fields{
		"profile": text(&in.Profile), "reason_code": text(&in.ReasonCode), "justification": text(&in.Justification),
		"ticket": text(&in.Ticket), "invoker": optionalText(&in.Invoker), "duration_seconds": optionalInteger(&in.DurationSeconds),
		"totp": optionalText(&in.TOTP),
	}
}

// closeRequest is the body of POST /v1/breakglass/{id}/close.
type closeRequest struct {
	Reason string `json:"reason" validate:"required,closed_reason"`
}

func (in *closeRequest) fields() fields { return fields{"reason": text(&in.Reason)} }

// credentialsRequest is the body of POST /v1/credentials.
type credentialsRequest struct {
	Profile string `json:"profile" validate:"required,name"`
}

func (in *credentialsRequest) fields() fields { return fields{"profile": text(&in.Profile)} }

// extendRequest is the body of POST /v1/breakglass/{id}/extend.
type extendRequest struct {
	Justification   string  `json:"justification" validate:"required,justification"`
	DurationSeconds *int64  `json:"duration_seconds" validate:"omitnil,duration_seconds"`
	TOTP            *string `json:"totp" validate:"omitnil,totp"`
}

func (in *extendRequest) fields() fields {
	return fields{"justification": text(&in.Justification), "duration_seconds": optionalInteger(&in.DurationSeconds), "totp": optionalText(&in.TOTP)}
}

// newRequest is the body of POST /v1/requests.
type newRequest struct {
	Profile         string `json:"profile" validate:"required,name"`
	Justification   string `json:"justification" validate:"required,justification"`
	Ticket          string `json:"ticket" validate:"ticket"`
	DurationSeconds *int64 `json:"duration_seconds" validate:"omitnil,request_duration_seconds"`
}

func (in *newRequest) fields() fields {
	return fields{"profile": text(&in.Profile), "justification": text(&in.Justification), "ticket": text(&in.Ticket),
		"duration_seconds": optionalInteger(&in.DurationSeconds)}
}

// approveRequest is the body of POST /v1/requests/{id}/approve.
type approveRequest struct {
	Comment string `json:"comment" validate:"comment"`
}

func (in *approveRequest) fields() fields { return fields{"comment": text(&in.Comment)} }

// denyRequest is the body of POST /v1/requests/{id}/deny.
type denyRequest struct {
	Reason string `json:"reason" validate:"required,closed_reason"`
}

func (in *denyRequest) fields() fields { return fields{"reason": text(&in.Reason)} }

// cancelRequest is the body of POST /v1/requests/{id}/cancel.
type cancelRequest struct {
	Reason string `json:"reason" validate:"comment"`
}

func (in *cancelRequest) fields() fields { return fields{"reason": text(&in.Reason)} }

// checks are the domain's checks by tag. Each returns what is wrong, or "".
func checks() map[string]func(v reflect.Value) string {
	onText := func(check func(string) string) func(reflect.Value) string {
		return func(v reflect.Value) string { return check(v.String()) }
	}
	onSeconds := func(check func(time.Duration) string) func(reflect.Value) string {
		return func(v reflect.Value) string {
			d := breakglass.Seconds(v.Int())
			if d == 0 {
				d = -time.Second // zero asks for the default only by being absent
			}
			return check(d)
		}
	}
	return map[string]func(reflect.Value) string{
		"name":          onText(breakglass.CheckName),
		"person":        onText(breakglass.CheckPersonName),
		"reason_code":   onText(func(s string) string { return breakglass.CheckReasonCode(breakglass.ReasonCode(s)) }),
		"justification": onText(breakglass.CheckJustification),
		"ticket":        onText(breakglass.CheckTicket),
		"totp":          onText(breakglass.CheckTOTP),
		"invitation":    onText(breakglass.CheckInvitation),
		"closed_reason": onText(breakglass.CheckClosedReason),
		"comment":       onText(breakglass.CheckComment),

		"duration_seconds":         onSeconds(breakglass.CheckDuration),
		"request_duration_seconds": onSeconds(breakglass.CheckRequestDuration),
	}
}

// requestValidator checks the values of request bodies.
type requestValidator struct {
	validate *validator.Validate
	checks   map[string]func(reflect.Value) string
}

func newRequestValidator() (*requestValidator, error) {
	v := &requestValidator{validate: validator.New(validator.WithRequiredStructEnabled()), checks: checks()}
	v.validate.RegisterTagNameFunc(func(f reflect.StructField) string { return f.Tag.Get("json") })
	for tag, check := range v.checks {
		if err := v.validate.RegisterValidation(tag, func(fl validator.FieldLevel) bool { return check(fl.Field()) == "" }); err != nil {
			return nil, fmt.Errorf("validation %q: %w", tag, err)
		}
	}
	return v, nil
}

// check notes every bad value. A field that is known to be wrong is passed
// over: its value is not what the caller wrote.
func (v *requestValidator) check(request any, f *faults) error {
	err := v.validate.Struct(request)
	var bad validator.ValidationErrors
	if err != nil && !errors.As(err, &bad) {
		return err
	}
	for _, fe := range bad {
		if !f.has(fe.Field()) {
			f.add(fe.Field(), v.message(fe))
		}
	}
	return nil
}

func (v *requestValidator) message(fe validator.FieldError) string {
	if fe.Tag() == "required" {
		return "is required and must not be empty"
	}
	value := reflect.Indirect(reflect.ValueOf(fe.Value()))
	if check, ok := v.checks[fe.Tag()]; ok && value.IsValid() {
		return check(value)
	}
	return "is not valid (" + strings.ReplaceAll(fe.Tag(), "_", " ") + ")"
}
