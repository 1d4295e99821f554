package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"breakglass/internal/breakglass"
)

// maxBody is the largest request body in bytes: several times the largest
// valid one.
const maxBody = 64 << 10

// readObject reads the body as one JSON object. Its errors are those of a
// request that can't be understood at all: 400, 413 and 415. An optional body
// may be absent: then the object is empty.
func (c *call) readObject(optional bool) (object, error) {
	if !optional || c.r.ContentLength > 0 {
		if err := checkMediaType(c.r.Header); err != nil {
			return nil, err
		}
	}
	data, err := c.readBody()
	if err != nil {
		return nil, err
	}
	if optional && len(data) == 0 {
		return object{}, nil
	}
	if err := checkMediaType(c.r.Header); err != nil { // a chunked body has no length in advance
		return nil, err
	}
	return parseObject(data)
}

// read reads the body of a call that has no query parameters, and says all that
// is wrong with the request at once.
func (c *call) read(known fields, body any, optional bool) error {
	var f faults
	c.query(&f)
	obj, err := c.readObject(optional)
	if err != nil {
		return err
	}
	known.read(obj, &f)
	if err := c.h.validate.check(body, &f); err != nil {
		return err
	}
	return f.err()
}

func (c *call) readBody() ([]byte, error) {
	if c.r.ContentLength > maxBody {
		return nil, tooLarge()
	}
	defer context.AfterFunc(c.h.draining, func() { c.readWithin(drainBodyTimeout) })()
	// The writer below the recorder, so that net/http closes the connection
	// instead of reading the rest.
	data, err := io.ReadAll(http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, tooLarge()
	case err != nil:
		return nil, malformed("The request body did not arrive completely.", err)
	}
	c.bodyRead = true
	return data, nil
}

func tooLarge() error {
	return &breakglass.Error{Code: breakglass.CodeTooLarge, Message: fmt.Sprintf("The request body is longer than %d bytes.", maxBody)}
}

func malformed(message string, cause error) error {
	return &breakglass.Error{Code: breakglass.CodeMalformed, Message: message, Cause: cause}
}

// checkMediaType accepts application/json alone, in UTF-8 and uncompressed.
func checkMediaType(h http.Header) error {
	refuse := func(message string) error {
		return &breakglass.Error{Code: breakglass.CodeUnsupportedMediaType, Message: message}
	}
	types := h["Content-Type"]
	if len(types) != 1 {
		return refuse("The request needs exactly one Content-Type header: application/json.")
	}
	media, params, err := mime.ParseMediaType(types[0])
	if err != nil || media != "application/json" {
		return refuse("The request body must be application/json.")
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return refuse("The request body must be in UTF-8.")
	}
	if coding := h["Content-Encoding"]; len(coding) > 0 && (len(coding) > 1 || !strings.EqualFold(coding[0], "identity")) {
		return refuse("The request body must not be compressed.")
	}
	return nil
}

// object is the members of a JSON object, in the order of the text. A name
// may occur more than once.
type object []member

type member struct {
	name  string
	value json.RawMessage
}

// parseObject refuses anything but one JSON object (RFC 8259) in valid UTF-8.
// encoding/json bounds the depth of nesting.
func parseObject(data []byte) (object, error) {
	if !utf8.Valid(data) {
		return nil, malformed("The request body is not valid UTF-8.", nil)
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, malformed("The request body is not one valid JSON value: "+err.Error()+".", err)
	}
	if whole = bytes.TrimLeft(whole, " \t\r\n"); whole[0] != '{' {
		return nil, malformed("The request body must be a JSON object, not "+kind(whole)+".", nil)
	}
	dec := json.NewDecoder(bytes.NewReader(whole))
	if _, err := dec.Token(); err != nil {
		return nil, malformed("The request body is not valid JSON.", err)
	}
	obj := object{}
	for dec.More() {
		var m member
		name, err := dec.Token()
		if err == nil {
			m.name = name.(string) // the text is valid, so a member begins with a string
			err = dec.Decode(&m.value)
		}
		if err != nil {
			return nil, malformed("The request body is not valid JSON.", err)
		}
		obj = append(obj, m)
	}
	return obj, nil
}

// kind is the type of a JSON value in words.
func kind(raw json.RawMessage) string {
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}
