package testenv

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// OIDCOptions says what the identity provider of a test is like.
type OIDCOptions struct {
	// Groups are the groups of each person. Anybody can log in, with any
	// password; the address of NAME is NAME@example.com.
	Groups map[string][]string
	// IDTokenSeconds is how long ID tokens last; zero: an hour.
	IDTokenSeconds int
}

// OIDCProvider is an identity provider (oidc-provider, as its project ships it,
// with its own login pages) in a process of its own. Its public client is bgctl.
type OIDCProvider struct {
	Issuer string

	t       testing.TB
	node    string
	dir     string
	options OIDCOptions
	port    int
	kid     int
	cmd     *exec.Cmd
	stdin   io.Closer
	log     *tail
	drained chan struct{}
}

const oidcTimeout = 30 * time.Second

// OIDC starts an identity provider, which ends with the test; without node or
// the provider it ends the test as Require does.
func OIDC(t testing.TB, options OIDCOptions) *OIDCProvider {
	t.Helper()
	p := &OIDCProvider{t: t, options: options, dir: filepath.Join(Root(t), ".cache", "oidc")}
	var err error
	p.node, err = exec.LookPath("node")
	Require(t, err == nil, "needs node, which is not installed")
	Require(t, oidcInstalled(Root(t), p.dir), "needs the identity provider of the tests, which is not installed as test/oidc wants it")
	p.Start()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("the last lines of the identity provider:\n%s", p.log)
		}
	})
	return p
}

// oidcInstalled compares the stamp of scripts/oidc.sh.
func oidcInstalled(root, dir string) bool {
	sum := sha256.New()
	for _, name := range []string{"package.json", "package-lock.json", "provider.mjs"} {
		data, err := os.ReadFile(filepath.Join(root, "test", "oidc", name))
		if err != nil {
			return false
		}
		sum.Write(data)
	}
	stamp, err := os.ReadFile(filepath.Join(dir, "stamp"))
	return err == nil && strings.TrimSpace(string(stamp)) == hex.EncodeToString(sum.Sum(nil))
}

// Start starts a provider that was stopped, at its old address with new keys:
// it has forgotten every login.
func (p *OIDCProvider) Start() {
	p.t.Helper()
	p.kid++
	options, err := json.Marshal(map[string]any{"port": p.port, "keys": []any{newJWK(p.t, "key-"+strconv.Itoa(p.kid))}, "groups": p.options.Groups,
		"idTokenSeconds": cmp.Or(p.options.IDTokenSeconds, 3600)})
	if err != nil {
		p.t.Fatalf("testenv: %v", err)
	}
	p.cmd = exec.Command(p.node, "provider.mjs", string(options))
	p.cmd.Dir = p.dir
	p.cmd.Env = append(os.Environ(), "NODE_ENV=production")
	p.log, p.drained = &tail{}, make(chan struct{})
	p.cmd.Stderr = writerFunc(p.log.add)
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		p.t.Fatalf("testenv: %v", err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatalf("testenv: %v", err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("testenv: starting the identity provider: %v", err)
	}
	listening := make(chan string, 1)
	go func() {
		defer close(p.drained)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if issuer, ok := strings.CutPrefix(lines.Text(), "issuer "); ok {
				listening <- issuer
			}
			p.log.add(lines.Text())
		}
	}()
	select {
	case p.Issuer = <-listening:
	case <-p.drained:
		p.t.Fatalf("testenv: the identity provider ended before it listened:\n%s", p.log)
	case <-time.After(oidcTimeout):
		p.t.Fatalf("testenv: the identity provider did not listen within %s:\n%s", oidcTimeout, p.log)
	}
	if _, err := fmt.Sscanf(p.Issuer, "http://127.0.0.1:%d", &p.port); err != nil {
		p.t.Fatalf("testenv: %q: %v", p.Issuer, err)
	}
	resp, err := http.Get(p.Issuer + "/.well-known/openid-configuration")
	if err != nil {
		p.t.Fatalf("testenv: the identity provider does not answer: %v", err)
	}
	_ = resp.Body.Close()
}

// Stop ends the provider's process.
func (p *OIDCProvider) Stop() {
	if p.cmd == nil {
		return
	}
	_ = p.stdin.Close()
	_ = p.cmd.Process.Kill()
	<-p.drained
	_ = p.cmd.Wait()
	p.cmd = nil
}

// newJWK makes a private RSA key in the form of RFC 7517.
func newJWK(t testing.TB, kid string) map[string]string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	n := func(i *big.Int) string { return base64.RawURLEncoding.EncodeToString(i.Bytes()) }
	return map[string]string{"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": n(key.N), "e": n(big.NewInt(int64(key.E))), "d": n(key.D),
		"p": n(key.Primes[0]), "q": n(key.Primes[1]), "dp": n(key.Precomputed.Dp), "dq": n(key.Precomputed.Dq), "qi": n(key.Precomputed.Qinv)}
}

type writerFunc func(string)

func (f writerFunc) Write(b []byte) (int, error) {
	f(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}
