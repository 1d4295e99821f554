package tlsfiles

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/reload"
)

func newPair(t *testing.T, notAfter time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: notAfter.Add(-48 * time.Hour), NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// lay writes a set of good files into a folder.
func lay(t *testing.T, notAfter time.Time) Files {
	t.Helper()
	dir := t.TempDir()
	f := Files{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), ClientCA: filepath.Join(dir, "ca"), ClientAuth: Require}
	cert, key := newPair(t, notAfter)
	for path, content := range map[string][]byte{f.Cert: cert, f.Key: key, f.ClientCA: cert} {
		require.NoError(t, os.WriteFile(path, content, 0o600))
	}
	return f
}

func TestEachFileIsNamedThatCantBeServed(t *testing.T) {
	end := time.Now().Add(time.Hour)
	_, strange := newPair(t, end)
	good := lay(t, end)
	ca, err := os.ReadFile(good.ClientCA)
	require.NoError(t, err)
	m, err := good.Read()
	require.NoError(t, err)
	assert.WithinDuration(t, end, m.NotAfter, time.Second)
	for name, tc := range map[string]struct {
		file    func(Files) string
		content []byte
		blames  func(Files) string
	}{
		"empty certificate":              {Files.cert, nil, Files.cert},
		"another's key":                  {Files.key, strange, Files.cert},
		"a key for an authority":         {Files.ca, strange, Files.ca},
		"no authority":                   {Files.ca, nil, Files.ca},
		"text behind authorities":        {Files.ca, append(append([]byte{}, ca...), "garbage"...), Files.ca},
		"a broken one behind a good one": {Files.ca, append(append([]byte{}, ca...), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})...), Files.ca},
	} {
		t.Run(name, func(t *testing.T) {
			f := lay(t, end)
			require.NoError(t, os.WriteFile(tc.file(f), tc.content, 0o600))
			_, err := f.Read()
			var fault *FileError
			require.ErrorAs(t, err, &fault)
			assert.Equal(t, tc.blames(f), fault.Path)
			assert.ErrorContains(t, err, fault.Path)
			assert.NotContains(t, err.Error(), "BEGIN")
			_, err = Open(f, time.Now, func(reload.Change) {})
			assert.Error(t, err, "a server starts with nothing to serve")
		})
	}
}

func (f Files) cert() string { return f.Cert }
func (f Files) key() string  { return f.Key }
func (f Files) ca() string   { return f.ClientCA }

func TestAnEndedCertificateIsServedWhenThereIsNoBetterOne(t *testing.T) {
	f := lay(t, time.Now().Add(-time.Hour))
	var changes []reload.Change
	k, err := Open(f, time.Now, func(c reload.Change) { changes = append(changes, c) })
	require.NoError(t, err, "a server that doesn't start helps nobody")
	replace := func(end time.Time) {
		next := lay(t, end)
		for from, to := range map[string]string{next.Cert: f.Cert, next.Key: f.Key} {
			require.NoError(t, os.Rename(from, to))
		}
		k.Reload()
	}
	good := time.Now().Add(time.Hour)
	replace(good)
	assert.WithinDuration(t, good, k.NotAfter(), time.Second)
	replace(time.Now().Add(-time.Minute))
	assert.WithinDuration(t, good, k.NotAfter(), time.Second)
	assert.ErrorContains(t, k.Status().Err, "ended")
	require.Len(t, changes, 3)
}

func TestClientsAreAskedForWhatIsConfigured(t *testing.T) {
	for auth, want := range map[ClientAuth]tls.ClientAuthType{Require: tls.RequireAndVerifyClientCert, Verify: tls.VerifyClientCertIfGiven} {
		f := lay(t, time.Now().Add(time.Hour))
		f.ClientAuth = auth
		k, err := Open(f, time.Now, func(reload.Change) {})
		require.NoError(t, err)
		c, err := k.Config().GetConfigForClient(nil)
		require.NoError(t, err)
		assert.Equal(t, want, c.ClientAuth)
		assert.True(t, c.SessionTicketsDisabled && k.Config().SessionTicketsDisabled)
	}
	f := lay(t, time.Now().Add(time.Hour))
	f.ClientCA = ""
	k, err := Open(f, time.Now, func(reload.Change) {})
	require.NoError(t, err)
	c, err := k.Config().GetConfigForClient(nil)
	require.NoError(t, err)
	assert.Equal(t, tls.NoClientCert, c.ClientAuth)
	assert.False(t, c.SessionTicketsDisabled)
}
