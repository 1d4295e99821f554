package notify

import (
	"context"
	"log/slog"
)

// logNotifier writes notifications to the server's own log.
type logNotifier struct{ log *slog.Logger }

// NewLog returns a Notifier that writes to log, at level info.
func NewLog(log *slog.Logger) Notifier { return logNotifier{log} }

// maxLogText bounds one attribute, in bytes: a justification of 1000
// characters fits even when each of them is escaped.
const maxLogText = 12000

func (l logNotifier) Notify(ctx context.Context, n Notification) error {
	e := n.Entry
	attrs := []slog.Attr{
		slog.String("id", n.ID), slog.Int64("seq", e.Seq), slog.Time("timestamp", e.Timestamp),
	}
	for _, a := range []struct{ key, value string }{
		{"event", string(e.Event)}, {"event_id", e.EventID}, {"request_id", e.RequestID}, {"actor", e.Actor},
		{"invoker", e.Invoker}, {"profile", e.Profile}, {"reason_code", string(e.ReasonCode)},
		{"justification", e.Justification}, {"status", string(e.Status)},
		{"closed_by", e.ClosedBy}, {"closed_reason", e.ClosedReason}, {"reason", e.Reason},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, printable(a.value, maxLogText)))
		}
	}
	if !e.ExpiresAt.IsZero() {
		attrs = append(attrs, slog.Time("expires_at", e.ExpiresAt))
	}
	l.log.LogAttrs(ctx, slog.LevelInfo, "break-glass notification", attrs...)
	return nil
}

// Noop returns a Notifier that takes everything and does nothing.
func Noop() Notifier { return noop{} }

type noop struct{}

func (noop) Notify(context.Context, Notification) error { return nil }
