package breakglass

import (
	"context"
	"maps"
)

// Origin is where a call came from. It changes no decision and stands in the
// audit entries, so it travels in the context.
type Origin struct {
	RequestID  string
	ClientAddr string // IP address of the peer; empty: unknown
}

type originKey struct{}

// WithOrigin returns a context that carries o.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

func originOf(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}

// fromWhere adds the caller's address to the detail of an entry.
func fromWhere(ctx context.Context, detail map[string]string) map[string]string {
	addr := originOf(ctx).ClientAddr
	if addr == "" {
		return detail
	}
	out := map[string]string{DetailClientAddr: addr}
	maps.Copy(out, detail)
	return out
}
