package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"

	"breakglass/internal/api"
	"breakglass/internal/audit"
)

// newFollower prepares the mirrors of the audit trail. The metrics are one of
// its readers: what is counted is what is on record.
func (a *App) newFollower() error {
	loggers := []audit.Logger{a.metrics}
	if a.cfg.Audit.Stdout && a.opts.AuditOut != nil {
		loggers = append(loggers, audit.NewJSONLogger(a.opts.AuditOut))
	}
	if a.cfg.Audit.File != "" {
		mirror, err := audit.OpenFileMirror(a.cfg.Audit.File)
		if err != nil {
			return err
		}
		a.mirror = watchMirror(mirror)
		a.onClose("audit mirror", mirror.Close)
		loggers = append(loggers, a.mirror)
	}
	a.follower = &audit.Follower{Journal: a.store, Loggers: loggers, Log: a.opts.Log}
	// A mirror of another trail, as after restoring a backup, must not keep the
	// server from starting: it is needed most when things went wrong. The
	// follower tries again, and starts a new mirror once the file is moved away.
	if err := a.follower.Check(context.Background()); err != nil {
		a.opts.Log.Error("the audit mirror is not written", "error", err)
	}
	return nil
}

// Start begins to listen and to work. When it fails everything is closed.
func (a *App) Start() (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	total, perAddress := connectionLimits(a.cfg.Limits, descriptors())
	main, err := a.listen(a.cfg.Listen, a.cfg.TLS.Enabled(), total, perAddress)
	if err != nil {
		return err
	}
	a.onClose("listener", ignoreClosed(main.Close))
	a.addr = main.Addr()
	var admin net.Listener
	if a.cfg.AdminListen != "" {
		if admin, err = a.listen(a.cfg.AdminListen, false, adminConnections, adminConnections); err != nil {
			return err
		}
		a.onClose("admin listener", ignoreClosed(admin.Close))
	}
	work := []func(context.Context){a.service.Run, a.rules.run}
	if a.sts != nil {
		work = append(work, a.sts.run(a))
	}
	if a.tls != nil {
		work = append(work, a.tls.Run, a.remind)
	}
	a.stopWork = a.inBackground(work...)
	a.stopFollower = a.inBackground(a.follower.Run)
	a.dispatcher.Start()
	a.serve(main, a.handler)
	if admin != nil {
		a.serve(admin, a.handler.Admin())
		a.opts.Log.Info("admin listening", "addr", admin.Addr().String())
	}
	a.opts.Log.Info("listening", append([]any{"addr", a.addr.String(), "tls", a.cfg.TLS.Enabled()}, describeStore(a.cfg.Store)...)...)
	return nil
}

// inBackground runs the functions until the returned one is called, which waits
// for them.
func (a *App) inBackground(run ...func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, f := range run {
		wg.Go(func() { f(ctx) })
	}
	return func() { cancel(); wg.Wait() }
}

func (a *App) listen(addr string, withTLS bool, total, perAddress int) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, explainListen(addr, err)
	}
	if l = a.limited(l, total, perAddress); !withTLS {
		return api.Strict(l), nil
	}
	return api.Secure(l, a.tls.Config(), a.opts.Log), nil
}

// explainListen adds what to do about an address that can't be had.
func explainListen(addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: something else listens on %s, perhaps another breakglassd; stop it, or choose another address", err, addr)
	}
	return err
}

func (a *App) serve(l net.Listener, h http.Handler) {
	server := api.NewServer(h, a.opts.Log, a.handler.Drain)
	a.servers = append(a.servers, server)
	a.serving.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("serving %s: %w", l.Addr(), err)
		}
	})
}

// Addr is where the API listens, once Start has returned.
func (a *App) Addr() net.Addr { return a.addr }

// Failed yields an error when a listener breaks while the server runs.
func (a *App) Failed() <-chan error { return a.failed }

// Reload reads the rules and the certificate again and reopens the audit
// mirror, as after a rotation of log files.
func (a *App) Reload(context.Context) { a.reload() }

func (a *App) reload() []api.Reloaded {
	a.opts.Log.Info("reload requested")
	a.rules.reload()
	if a.tls != nil {
		a.tls.Reload()
	}
	if a.mirror != nil {
		if err := a.mirror.Reopen(); err != nil {
			a.opts.Log.Error("the audit mirror could not be reopened", "error", err)
		}
	}
	return a.rules.reloaded()
}

// Stop finishes what was accepted and closes everything: first the API, then
// the work in the background, the store last. ctx bounds it.
func (a *App) Stop(ctx context.Context) error {
	var errs []error
	for _, s := range a.servers {
		if err := s.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("requests were cut off: %w", err), s.Close())
		}
	}
	a.serving.Wait()
	errs = append(errs, a.dispatcher.Stop(ctx))
	a.stopWork()
	a.stopFollower() // after the service: its last entries are mirrored too
	errs = append(errs, a.close())
	return errors.Join(errs...)
}

func ignoreClosed(closeFn func() error) func() error {
	return func() error {
		if err := closeFn(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}
