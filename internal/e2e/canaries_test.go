package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/config"
	"breakglass/internal/testenv"
)

// serverKeys are the server's own AWS credentials in this test.
const (
	serverKeyID  = "AKIACANARYCANARY4711"
	serverSecret = "canary-of-the-servers-own-secret-key-4711"
	serverToken  = "canary-of-the-servers-own-session-token-0123456789"
)

// scanTable is every item of a table, as JSON.
func scanTable(t *testing.T, endpoint, table string) string {
	t.Helper()
	client := ddb.New(ddb.Options{Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")})
	var all []any
	pages := ddb.NewScanPaginator(client, &ddb.ScanInput{TableName: aws.String(table)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		for _, item := range page.Items {
			all = append(all, item)
		}
	}
	require.NotEmpty(t, all)
	b, err := json.Marshal(all)
	require.NoError(t, err)
	return string(b)
}

// children are the processes that a process has started, on Linux.
func children(pid int) string {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // none elsewhere
	var all strings.Builder
	for _, f := range files {
		b, _ := os.ReadFile(f) // its thread may be gone
		all.Write(b)
	}
	return strings.TrimSpace(all.String())
}

// Real keys of STS, the server's own keys, the key of its certificate and the
// secrets of people and webhooks: none is where it doesn't belong, on either
// store.
func TestPromise12SecretsStaySecretOverTLSAndWithAWS(t *testing.T) {
	sts := testenv.Moto(t)
	for _, engine := range []string{"sqlite", "dynamodb"} {
		t.Run(engine, func(t *testing.T) {
			ca := newAuthority(t, "e2e")
			own, tmp := ca.issue(t, 12*time.Hour), t.TempDir()
			block, _ := pem.Decode(own.key)
			encoded := base64.StdEncoding.EncodeToString(block.Bytes)
			s := secrets{
				"the server's own secret key": serverSecret, "the server's own session token": serverToken,
				"a line of the certificate's key": encoded[64:128], "its bytes": string(block.Bytes),
				"the key of the webhook": hookKey, "the secret of the webhook": hookSecret(),
				"the token of user-0": token(user(0)), "the token of sam": token("sam"),
			}
			hook := newReceiver(t, func(w http.ResponseWriter, req *http.Request) { // what it answers is for nobody's log
				http.Error(w, req.Header.Get("Webhook-Signature")+hookSecret(), http.StatusInternalServerError)
			})
			st := site{dir: t.TempDir(), more: withTLS + fmt.Sprintf("sts: {issuer: aws, region: us-east-1, endpoint: %q}\naudit: {stdout: true, file: audit.jsonl}\nnotify:\n  sinks:\n%s", sts, hook.sink("bad"))}
			place(t, filepath.Join(st.dir, "cert.pem"), own.cert)
			keys := t.TempDir() // apart from what is searched
			place(t, filepath.Join(keys, "key.pem"), own.key)
			require.NoError(t, os.Symlink(filepath.Join(keys, "key.pem"), filepath.Join(st.dir, "key.pem")))
			env := []string{"AWS_ACCESS_KEY_ID=" + serverKeyID, "AWS_SECRET_ACCESS_KEY=" + serverSecret, "AWS_SESSION_TOKEN=" + serverToken,
				"AWS_EC2_METADATA_DISABLED=true", hookEnv + "=" + hookSecret(), "TMPDIR=" + tmp, "GOTRACEBACK=crash"}
			look := func() {}
			st.database = filepath.Join(st.dir, "breakglass.db")
			if engine == "dynamodb" {
				endpoint, table := testenv.SharedDynamoDB(t), fmt.Sprintf("canaries-%d", os.Getpid())
				st.table = &config.DynamoDB{Table: table, Region: "us-east-1", Endpoint: endpoint}
				mustDaemon(t, "init", "dynamodb", "--config", st.write(t))
				look = func() { s.absent(t, "the items of the table", scanTable(t, endpoint, table)) }
			}
			p := st.spawn(t, env...)
			p.listening(t)
			p.http = p.http.over(trusting(ca), true)
			p.ready(t)

			ev := decode[breakglass.View](t, p.http.must(t, 201, user(0), http.MethodPost, "/v1/breakglass", invocation("prod", 3600)))
			var issued struct {
				Secret  string `json:"secret_access_key"`
				Session string `json:"session_token"`
			}
			a := p.http.must(t, 200, user(0), http.MethodPost, "/v1/breakglass/"+ev.ID+"/credentials", "")
			require.NoError(t, json.Unmarshal(a.body, &issued))
			s.keysOf(t, "STS", issued.Secret, issued.Session)
			for i, call := range faultyCalls(ev.ID, serverSecret) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				a, err := p.http.do(ctx, call.as, call.method, call.path, call.body, call.header...)
				cancel()
				require.NoError(t, err)
				s.absent(t, fmt.Sprintf("the answer to faulty call %d", i), fmt.Sprint(a.header)+string(a.body))
			}
			// A certificate that can't be served is talked about.
			place(t, filepath.Join(st.dir, "cert.pem"), own.key)
			p.poll(t, "aware of it", func() bool { return p.http.metric(t, "breakglass_tls_current") == 0 })
			place(t, filepath.Join(st.dir, "cert.pem"), own.cert)

			p.poll(t, "refused by the webhook", func() bool {
				return p.http.metric(t, `breakglass_notification_attempts_total{result="failed",sink="bad"}`) > 0
			})
			for _, path := range []string{"/v1/events?limit=1000", "/v1/breakglass", "/metrics", "/readyz", "/v1/breakglass/" + ev.ID} {
				s.absent(t, path, string(p.http.must(t, 200, "sam", http.MethodGet, path, "").body))
			}
			assert.Empty(t, children(p.cmd.Process.Pid), "the server has started something")
			if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.cmd.Process.Pid)); err == nil {
				s.absent(t, "the command line", string(b))
			}
			look()
			require.Zero(t, p.terminate(t))
			s.absentFromFiles(t, st.dir, "key.pem")
			left, err := os.ReadDir(tmp)
			require.NoError(t, err)
			assert.Empty(t, left, "temporary files are left")
			s.absent(t, "standard output", p.out.String())
			s.absent(t, "the log", p.logs.String())
			assert.NotContains(t, p.logs.String(), "BEGIN", "no PEM is shown")
		})
	}
}
