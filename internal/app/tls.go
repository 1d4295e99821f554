package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"breakglass/internal/api"
	"breakglass/internal/config"
	"breakglass/internal/reload"
	"breakglass/internal/tlsfiles"
)

const (
	// renewalDue is how long before its end a certificate should have been
	// renewed: the usual tools do it with a month, or a third of the time, to go.
	renewalDue = 14 * 24 * time.Hour
	// remindEvery is how often the log says so.
	remindEvery = 24 * time.Hour
)

// openTLS reads the certificate, when there is to be one.
func (a *App) openTLS() (err error) {
	if !a.cfg.TLS.Enabled() {
		return nil
	}
	a.tls, err = tlsfiles.Open(tlsFiles(a.cfg.TLS), a.opts.Now, a.certificateChanged)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	a.opts.Log.Info("certificate in force", a.certificate()...)
	a.metrics.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "breakglass_tls_certificate_expiry_seconds",
		Help: "Seconds until the TLS certificate in force ends; negative once it has."},
		func() float64 { return a.tls.NotAfter().Sub(a.opts.Now()).Seconds() }))
	return nil
}

func tlsFiles(c config.TLS) tlsfiles.Files {
	return tlsfiles.Files{Cert: c.CertFile, Key: c.KeyFile, ClientCA: c.ClientCAFile, ClientAuth: tlsfiles.ClientAuth(c.ClientAuth)}
}

// certificate is what the log says about the one in force.
func (a *App) certificate() []any {
	return []any{slog.String("path", a.cfg.TLS.CertFile), slog.Time("not_after", a.tls.NotAfter().UTC())}
}

// certificateChanged makes every change of the files visible.
func (a *App) certificateChanged(c reload.Change) {
	a.metrics.tlsReloaded(c.Err == nil)
	switch {
	case c.Old == "": // at start: openTLS says it
	case c.Err != nil:
		a.opts.Log.Error("the certificate on disk can't be served: the one before stays in force", append(a.certificate(), slog.Any("error", c.Err))...)
	default:
		a.opts.Log.Info("certificate in force", a.certificate()...)
	}
}

// remind says when a renewal is due.
func (a *App) remind(ctx context.Context) {
	tick := time.NewTicker(remindEvery)
	defer tick.Stop()
	for {
		if left := a.tls.NotAfter().Sub(a.opts.Now()); left < 0 {
			a.opts.Log.Error("THE CERTIFICATE HAS ENDED: clients refuse the server until it is renewed", a.certificate()...)
		} else if left < renewalDue {
			a.opts.Log.Warn("the certificate ends soon: renew it, the server takes it up by itself", a.certificate()...)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tlsCheck is green either way: a server out of rotation helps nobody, and
// another replica has most likely the same certificate.
func tlsCheck(notAfter, now time.Time, s reload.Status) api.Check {
	c := api.Check{Name: "tls", OK: true, Detail: "certificate valid until " + notAfter.UTC().Format(time.RFC3339)}
	switch left := notAfter.Sub(now); {
	case left < 0:
		c.Detail = "CERTIFICATE ENDED at " + notAfter.UTC().Format(time.RFC3339)
	case left < renewalDue:
		c.Detail = "CERTIFICATE ENDS SOON, at " + notAfter.UTC().Format(time.RFC3339)
	}
	if s.Err != nil {
		c.Detail += "; the files on disk are broken, see the server's log"
	}
	return c
}
