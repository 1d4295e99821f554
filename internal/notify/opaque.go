package notify

import (
	"fmt"
	"io"
	"log/slog"
)

// opaque is embedded by what holds secrets: however the value around it is
// formatted, only the label comes out. A String method on the secret itself
// isn't enough, because fmt doesn't call methods of unexported fields.
type opaque string

// Format implements fmt.Formatter.
func (o opaque) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, string(o)) }

// String leaves out the URL, which often is a secret.
func (c SinkConfig) String() string { return "sink " + c.Name + " (" + c.Type + ")" }

// GoString leaves out the URL.
func (c SinkConfig) GoString() string { return c.String() }

// LogValue leaves out the URL, also from JSON logs.
func (c SinkConfig) LogValue() slog.Value { return slog.StringValue(c.String()) }
