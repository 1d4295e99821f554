package client

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// defaultPage is how many items the server puts on a page unless told otherwise.
const defaultPage = 100

// page is one page of a list, with at most max items. A few bytes of JSON can
// stand for an item of hundreds of bytes, so items are decoded one by one and
// the first one too many ends it.
type page[T any] struct {
	Items      []T
	NextCursor string
	max        int
}

func newPage[T any](limit int) page[T] {
	if limit < 1 {
		limit = defaultPage
	}
	return page[T]{max: limit}
}

// bytes is how long the answer may be.
func (p *page[T]) bytes() int64 { return min(maxListBytes, int64(p.max+1)*maxItemBytes) }

// tooManyError says that a page holds more than was asked for.
type tooManyError struct{ max int }

func (e *tooManyError) Error() string {
	return fmt.Sprintf("it lists more than the %d items that were asked for", e.max)
}

// UnmarshalJSON is called with JSON that is valid as a whole.
func (p *page[T]) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := open(dec, '{', "the answer"); err != nil {
		return err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		switch key {
		case "items":
			err = p.items(dec)
		case "next_cursor":
			err = dec.Decode(&p.NextCursor)
		default:
			err = dec.Decode(new(json.RawMessage)) // of a newer server
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *page[T]) items(dec *json.Decoder) error {
	if err := open(dec, '[', "items"); err != nil {
		return err
	}
	for dec.More() {
		if len(p.Items) == p.max {
			return &tooManyError{p.max}
		}
		var item T
		if err := dec.Decode(&item); err != nil {
			return err
		}
		p.Items = append(p.Items, item)
	}
	_, err := dec.Token()
	return err
}

// array is a list with at most max items inside an answer that has more to it.
type array[T any] struct{ page[T] }

// UnmarshalJSON is called with JSON that is valid as a whole.
func (a *array[T]) UnmarshalJSON(data []byte) error {
	return a.items(json.NewDecoder(bytes.NewReader(data)))
}

// open reads the bracket with which a value must begin.
func open(dec *json.Decoder, bracket json.Delim, what string) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	if t != bracket {
		return fmt.Errorf("%s must begin with %s", what, bracket)
	}
	return nil
}
