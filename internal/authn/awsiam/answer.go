package awsiam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"
)

// errorCode is the form of AWS's error codes.
var errorCode = regexp.MustCompile(`^[A-Za-z0-9.]{1,64}$`)

// readAnswer reads STS's answer. Only status 200 with one complete JSON document
// in the form that STS uses is an identity. Anything that two readers could
// read in two ways is refused: names are exact, and none may be there twice.
func readAnswer(resp *http.Response, data []byte) (Identity, error) {
	switch {
	case resp.StatusCode == http.StatusOK:
	case resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusForbidden:
		return Identity{}, refusal(resp.StatusCode, data)
	default:
		return Identity{}, fmt.Errorf("STS answers with status %d", resp.StatusCode)
	}
	if media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return Identity{}, fmt.Errorf("the answer of STS is %.40q and not JSON", resp.Header.Get("Content-Type"))
	}
	if !utf8.Valid(data) {
		return Identity{}, errors.New("the answer of STS is not UTF-8")
	}
	result, err := member(data, "GetCallerIdentityResponse", "GetCallerIdentityResult")
	if err != nil {
		return Identity{}, fmt.Errorf("the answer of STS: %w", err)
	}
	var arn, accountID string
	for name, to := range map[string]*string{"Arn": &arn, "Account": &accountID} {
		raw, err := member(result, name)
		if err == nil && (len(raw) == 0 || raw[0] != '"') {
			err = fmt.Errorf("%s is no string", name)
		}
		if err == nil {
			err = json.Unmarshal(raw, to)
		}
		if err != nil {
			return Identity{}, fmt.Errorf("the answer of STS: %w", err)
		}
	}
	id, err := parseARN(arn)
	if err != nil {
		return Identity{ARN: arn}, err
	}
	if id.Account != accountID {
		return Identity{}, errors.New("the answer of STS: Account is not that of Arn")
	}
	return id, nil
}

// refusal tells STS's no from its trouble: throttling is a 400 too.
func refusal(status int, data []byte) error {
	var e struct{ Error struct{ Code string } }
	code := ""
	if json.Unmarshal(data, &e) == nil && errorCode.MatchString(e.Error.Code) { // the code is shown and decides nothing but the status
		code = e.Error.Code
	}
	switch {
	case strings.HasPrefix(code, "Throttling"), code == "RequestLimitExceeded", code == "ServiceUnavailable", code == "InternalFailure":
		return fmt.Errorf("STS answers %s", code)
	case code == "":
		code = fmt.Sprintf("status %d", status)
	}
	return &refusedError{code}
}

// member returns the value at a path of names in a JSON object.
func member(data []byte, path ...string) (json.RawMessage, error) {
	for _, name := range path {
		var err error
		if data, err = one(data, name); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// one returns the value of one member. Repeated names are refused, and so are
// names that differ from it only in case, which some readers take for it.
func one(data []byte, name string) (json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("is not a JSON object")
	}
	var found json.RawMessage
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, errors.New("is not JSON")
		}
		k, _ := key.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errors.New("is not JSON")
		}
		if seen[k] || k != name && strings.EqualFold(k, name) {
			return nil, fmt.Errorf("%.40q is there twice", k)
		}
		seen[k] = true
		if k == name {
			found = value
		}
	}
	if _, err := dec.Token(); err != nil || len(bytes.TrimSpace(data[dec.InputOffset():])) > 0 {
		return nil, errors.New("is not one JSON object")
	}
	if found == nil {
		return nil, fmt.Errorf("has no %s", name)
	}
	return found, nil
}
