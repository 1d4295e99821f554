package app

import (
	"os"

	"breakglass/internal/api"
	"breakglass/internal/authn"
	"breakglass/internal/authn/awsiam"
	"breakglass/internal/authn/session"
	"breakglass/internal/config"
)

// newAWSLogin returns the login with AWS identities; nil where none is configured.
func (a *App) newAWSLogin() (*awsiam.Login, error) {
	if a.cfg.Auth.AWS == nil {
		return nil, nil
	}
	keys, err := sessionKeys(a.cfg.Auth)
	if err != nil {
		return nil, err
	}
	l, err := awsiam.New(*a.cfg.Auth.AWS, awsiam.Deps{Keys: keys, Store: a.store, Now: a.opts.Now, Log: a.opts.Log, Denied: authn.DenyNames(a.cfg.Auth.Denied)})
	if err != nil {
		return nil, err
	}
	a.onClose("AWS login", func() error { l.Close(); return nil })
	return l, nil
}

// sessionKeys reads the keys that sign sessions. Without any, a key of this
// process does for one machine: its sessions end when it does.
func sessionKeys(c config.Auth) (*session.Keys, error) {
	if len(c.SessionKeys) == 0 {
		return session.Random(), nil
	}
	return session.Load(c.SessionKeys, os.LookupEnv)
}

// awsLogin and sessions keep a nil *awsiam.Login a nil interface.
func awsLogin(l *awsiam.Login) api.AWSLogin {
	if l == nil {
		return nil
	}
	return l
}

func sessions(l *awsiam.Login) authn.Verifier {
	if l == nil {
		return nil
	}
	return l
}
