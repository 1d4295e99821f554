package awsiam_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn/awsiam"
	"breakglass/internal/breakglass"
	"breakglass/internal/testenv"
)

// TestAttacks are the ways in which a login by a signed GetCallerIdentity was or
// could be forged. Each passes only while its defence is there.
func TestAttacks(t *testing.T) {
	w := newWorld(t)
	alice := w.sts.User("/engineering/", "alice")
	oncall := w.sts.AssumeRole("arn:aws:iam::"+home+":role/path/OnCall", "i-0123456789abcdef0")
	for _, tc := range []struct {
		name string
		run  func(w *world, alice, oncall testenv.AWSKeys)
	}{
		{"an altered signed identity", altered},
		{"a replay at the same server", replayed},
		{"a replay at another replica", replayedElsewhere},
		{"a replay after a restart", replayedAfterRestart},
		{"many replays at once", replayedAtOnce},
		{"a redirect", redirected},
		{"a signed identity for another host", anotherHost},
		{"a signed identity for another server", anotherServer},
		{"a signed identity for another call", anotherCall},
		{"case variants", caseVariants},
		{"duplicate parameters", duplicates},
		{"the same role name in another account", anotherAccount},
		{"a session name that the caller chose", chosenSessionName},
		{"an old or a future date", wrongDate},
		{"a nonce of somebody else", wrongNonce},
		{"an old nonce", oldNonce},
		{"a nonce that is not signed", unsignedNonce},
		{"a session token that is not signed", unsignedToken},
		{"an oversized signed identity", oversized},
		{"an answer that isn't STS's", strangeAnswers},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sub := *w
			sub.t = t
			tc.run(&sub, alice, oncall)
		})
	}
}

func TestAnAWSIdentityLogsIn(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		keys   testenv.AWSKeys
		region string
		name   string
		groups []string
		arn    string
	}{
		{w.sts.User("/engineering/", "alice"), "us-east-1", "alice@example.com", []string{"oncall", "db"}, "arn:aws:iam::123456789012:user/engineering/alice"},
		{w.sts.AssumeRole("arn:aws:iam::"+home+":role/path/OnCall", "i-0123456789abcdef0"), "eu-west-1", "oncall-machine", []string{"oncall"},
			"arn:aws:sts::123456789012:assumed-role/OnCall/i-0123456789abcdef0"},
		{w.sts.AssumeRole("arn:aws:iam::"+home+":role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Engineer_0123456789abcdef", "bob"), "us-east-1",
			"bob@example.com", []string{"engineers"}, "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Engineer_0123456789abcdef/bob"},
		{w.sts.AssumeRole("arn:aws:iam::"+home+":role/Chatbot", "carol"), "us-east-1", "carol", nil, "arn:aws:sts::123456789012:assumed-role/Chatbot/carol"},
	} {
		in := w.honest()
		in.region, in.host = tc.region, "sts."+tc.region+".amazonaws.com"
		s := w.admitted(w.login, sign(t, tc.keys, in))
		assert.Equal(t, tc.name, s.Name)
		assert.Equal(t, tc.groups, s.Groups)
		assert.Equal(t, tc.arn, s.Identity.ARN)
		assert.WithinDuration(t, time.Now().Add(time.Hour), s.Expires, 5*time.Second)
		assert.LessOrEqual(t, len(s.Token), 1024, "it has to fit into a header")
	}
	// What reaches STS is composed here.
	asked := w.sts.Seen()[0]
	assert.Equal(t, []string{"POST", "/", query, "sts.us-east-1.amazonaws.com"}, []string{asked.Method, asked.Path, asked.Body, asked.Host})
	asked.Header.Del("Authorization")
	var names []string
	for name := range asked.Header {
		names = append(names, name)
	}
	assert.ElementsMatch(t, []string{"Accept", "Content-Type", "Content-Length", "User-Agent", "X-Amz-Date", "X-Breakglass-Nonce", "X-Breakglass-Server"}, names)
}

func altered(w *world, alice, oncall testenv.AWSKeys) {
	flip := func(s string) string { return s[:len(s)-1] + string("10"[btoi(strings.HasSuffix(s, "1"))]) }
	other := w.login.Challenge().Nonce
	for name, change := range map[string]func(*awsiam.Proof){
		"signature": func(p *awsiam.Proof) { p.Authorization = flip(p.Authorization) },
		"nonce":     func(p *awsiam.Proof) { p.Nonce = other },
		"server":    func(p *awsiam.Proof) { p.Server = "127.0.0.1" },
		"date":      func(p *awsiam.Proof) { p.Date = time.Now().Add(7 * time.Second).UTC().Format("20060102T150405Z") },
		"region":    func(p *awsiam.Proof) { p.Authorization = strings.Replace(p.Authorization, "us-east-1", "eu-west-1", 1) },
		"key": func(p *awsiam.Proof) {
			p.Authorization = strings.Replace(p.Authorization, alice.AccessKeyID, oncall.AccessKeyID, 1)
		},
		"session token": func(p *awsiam.Proof) { p.SecurityToken = oncall.SessionToken },
		"signed header": func(p *awsiam.Proof) {
			p.Authorization = strings.Replace(p.Authorization, "=content-length;host", "=host", 1)
		},
	} {
		p := sign(w.t, alice, w.honest())
		change(&p)
		s, err := w.login.Login(w.t.Context(), p)
		require.Error(w.t, err, "%s: logged in as %s", name, s.Name)
		assert.Contains(w.t, []breakglass.Code{breakglass.CodeUnauthenticated, breakglass.CodeInvalidRequest}, breakglass.AsError(err).Code, name)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func replayed(w *world, alice, _ testenv.AWSKeys) {
	p := sign(w.t, alice, w.honest())
	w.admitted(w.login, p)
	w.refused(w.login, p, breakglass.CodeUnauthenticated, "used before")
	// Signed anew over the same nonce.
	again := w.honest()
	again.nonce = p.Nonce
	w.refused(w.login, sign(w.t, alice, again), breakglass.CodeUnauthenticated, "used before")
}

func replayedElsewhere(w *world, alice, _ testenv.AWSKeys) {
	p := sign(w.t, alice, w.honest())
	w.admitted(w.login, p)
	w.refused(w.replica, p, breakglass.CodeUnauthenticated, "used before")
	// A challenge of one replica can be answered at the other, once.
	q := sign(w.t, alice, w.honest())
	w.admitted(w.replica, q)
	w.refused(w.login, q, breakglass.CodeUnauthenticated, "used before")
}

func replayedAfterRestart(w *world, alice, _ testenv.AWSKeys) {
	p := sign(w.t, alice, w.honest())
	w.admitted(w.login, p)
	w.refused(w.server(config, w.keys), p, breakglass.CodeUnauthenticated, "used before")
}

func replayedAtOnce(w *world, alice, _ testenv.AWSKeys) {
	p := sign(w.t, alice, w.honest())
	var in atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			l := w.login
			if i%2 == 0 {
				l = w.replica
			}
			if _, err := l.Login(w.t.Context(), p); err == nil {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(w.t, 1, in.Load())
}

// redirected: STS never redirects. Whoever does would be asked in its place.
func redirected(w *world, alice, _ testenv.AWSKeys) {
	var asked atomic.Int32
	evil := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		answer(rw, http.StatusOK, identity("arn:aws:iam::"+home+":user/alice", home))
	}))
	defer evil.Close()
	defer w.sts.Instead(nil)
	for _, status := range []int{301, 302, 303, 307, 308} {
		w.sts.Instead(func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, evil.URL, status) })
		w.refused(w.login, sign(w.t, alice, w.honest()), breakglass.CodeUnavailable, "can't be asked")
	}
	assert.Zero(w.t, asked.Load())
}

func anotherHost(w *world, alice, _ testenv.AWSKeys) {
	for _, host := range []string{"sts.amazonaws.com", "sts.us-east-1.amazonaws.com.evil.example", "iam.amazonaws.com", "sts.eu-west-1.amazonaws.com", "sts.us-east-1.amazonaws.com:8443"} {
		in := w.honest()
		in.host = host
		w.refused(w.login, sign(w.t, alice, in), breakglass.CodeUnauthenticated, "SignatureDoesNotMatch")
	}
	before := len(w.sts.Seen())
	for _, region := range []string{"ap-south-1", "evil", "us-east-1-evil-1"} {
		in := w.honest()
		in.region = region
		w.refused(w.login, sign(w.t, alice, in), breakglass.CodeUnauthenticated, "asks only")
	}
	for _, region := range []string{"us-east-1.evil.example#", "evil.example/", "us-east-1@evil.example"} {
		p := sign(w.t, alice, w.honest())
		p.Authorization = strings.Replace(p.Authorization, "us-east-1", region, 1)
		w.refused(w.login, p, breakglass.CodeInvalidRequest, "authorization")
	}
	assert.Len(w.t, w.sts.Seen(), before, "nobody is asked about a Region that isn't configured")
}

func anotherServer(w *world, alice, _ testenv.AWSKeys) {
	for _, server := range []string{"evil.example", here + ".evil.example", strings.ToUpper(here), "https://" + here, here + ":443"} {
		in := w.honest()
		in.server = server // a relay: its name, our nonce
		p := sign(w.t, alice, in)
		w.refused(w.login, p, breakglass.CodeUnauthenticated, "another server")
		p.Server = here
		w.refused(w.login, p, breakglass.CodeUnauthenticated, "SignatureDoesNotMatch")
	}
}

func anotherCall(w *world, alice, _ testenv.AWSKeys) {
	for name, change := range map[string]func(*signing){
		"another action":   func(s *signing) { s.body = "Action=AssumeRole&Version=2011-06-15" },
		"another body":     func(s *signing) { s.body = query + "&Action=GetCallerIdentity" },
		"a GET":            func(s *signing) { s.method, s.body = http.MethodGet, "" },
		"a path":           func(s *signing) { s.host += "/other" },
		"a query":          func(s *signing) { s.host += "/?" + query + "&x=" },
		"another version":  func(s *signing) { s.body = "Action=GetCallerIdentity&Version=2011-06-14" },
		"a longer content": func(s *signing) { s.body = query + "&" },
	} {
		in := w.honest()
		change(&in)
		s, err := w.login.Login(w.t.Context(), sign(w.t, alice, in))
		require.Error(w.t, err, "%s: logged in as %s", name, s.Name)
	}
	in := w.honest()
	in.service = "iam"
	w.refused(w.login, sign(w.t, alice, in), breakglass.CodeInvalidRequest, "authorization")
}

// caseVariants: what one reader takes for the same and another for something
// else.
func caseVariants(w *world, alice, _ testenv.AWSKeys) {
	for name, change := range map[string]func(*awsiam.Proof){
		"algorithm":      replace("AWS4-HMAC-SHA256", "aws4-hmac-sha256"),
		"credential":     replace("Credential=", "credential="),
		"signed headers": replace("SignedHeaders=", "signedheaders="),
		"header name":    replace("x-breakglass-nonce", "X-Breakglass-Nonce"),
		"signature name": replace("Signature=", "signature="),
		"service":        replace("/sts/", "/STS/"),
		"terminator":     replace("aws4_request", "AWS4_REQUEST"),
		"signature": func(p *awsiam.Proof) {
			i := len(p.Authorization) - 64
			p.Authorization = p.Authorization[:i] + strings.ToUpper(p.Authorization[i:])
		},
		"region": replace("us-east-1", "US-EAST-1"),
		"date":   func(p *awsiam.Proof) { p.Date = strings.ToLower(p.Date) },
	} {
		p := sign(w.t, alice, w.honest())
		before := p
		change(&p)
		require.NotEqual(w.t, before, p, name)
		s, err := w.login.Login(w.t.Context(), p)
		require.Error(w.t, err, "%s: logged in as %s", name, s.Name)
		assert.Equal(w.t, breakglass.CodeInvalidRequest, breakglass.AsError(err).Code, name)
	}
}

func replace(from, to string) func(*awsiam.Proof) {
	return func(p *awsiam.Proof) { p.Authorization = strings.Replace(p.Authorization, from, to, 1) }
}

func duplicates(w *world, alice, oncall testenv.AWSKeys) {
	mine := "Credential=" + alice.AccessKeyID
	for name, change := range map[string]func(*awsiam.Proof){
		"credential first": replace(mine, "Credential="+oncall.AccessKeyID+"/20260101/us-east-1/sts/aws4_request, "+mine),
		"credential last": func(p *awsiam.Proof) {
			p.Authorization += ", Credential=" + oncall.AccessKeyID + "/20260101/us-east-1/sts/aws4_request"
		},
		"signature":             func(p *awsiam.Proof) { p.Authorization += ", Signature=" + strings.Repeat("0", 64) },
		"signed headers":        replace("SignedHeaders=", "SignedHeaders=host, SignedHeaders="),
		"a signed header":       replace("host;", "host;host;"),
		"a header out of order": replace("host;x-amz-date", "x-amz-date;host"),
		"an unknown header":     replace("host;", "host;x-amz-user-agent;"),
		"a line break":          replace(", SignedHeaders", ",\r\n SignedHeaders"),
		"a second header":       func(p *awsiam.Proof) { p.SecurityToken = "x\r\nX-Breakglass-Nonce: " + p.Nonce },
		"something before":      func(p *awsiam.Proof) { p.Authorization = "Bearer x, " + p.Authorization },
		"white space":           replace(", Signature", ",  Signature"),
		"a query":               replace("/sts/aws4_request", "/sts/aws4_request?X-Amz-Credential="+oncall.AccessKeyID),
	} {
		p := sign(w.t, alice, w.honest())
		before := p
		change(&p)
		require.NotEqual(w.t, before, p, name)
		s, err := w.login.Login(w.t.Context(), p)
		require.Error(w.t, err, "%s: logged in as %s", name, s.Name)
		assert.Equal(w.t, breakglass.CodeInvalidRequest, breakglass.AsError(err).Code, name)
	}
}

// anotherAccount: whoever has an AWS account can name a role as they like.
func anotherAccount(w *world, _, _ testenv.AWSKeys) {
	for _, arn := range []string{
		"arn:aws:iam::" + elsewhere + ":role/OnCall", "arn:aws:iam::" + elsewhere + ":role/Chatbot",
		"arn:aws:iam::" + elsewhere + ":role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Engineer_0123456789abcdef",
	} {
		p := sign(w.t, w.sts.AssumeRole(arn, "alice"), w.honest())
		w.refused(w.login, p, breakglass.CodeForbidden, "arn:aws:sts::"+elsewhere+":assumed-role/")
	}
}

func chosenSessionName(w *world, _, _ testenv.AWSKeys) {
	s := w.admitted(w.login, sign(w.t, w.sts.AssumeRole("arn:aws:iam::"+home+":role/OnCall", "alice@example.com"), w.honest()))
	assert.Equal(w.t, "oncall-machine", s.Name, "the session name of an ordinary role names nobody")
	for _, role := range []string{"AWSReservedSSO_Engineer", "AWSReservedSSO_Engineer_", "AWSReservedSSO_Engineer_0123456789ABCDEF", "AWSReservedSSO_Engineer_Fake_0123456789abcdef",
		"AWSReservedSSO_Engineer_0123456789abcdef0", "xAWSReservedSSO_Engineer_0123456789abcdef", "AWSReservedSSO_engineer_0123456789abcdef", "oncall", "OnCall2"} {
		p := sign(w.t, w.sts.AssumeRole("arn:aws:iam::"+home+":role/"+role, "alice"), w.honest())
		w.refused(w.login, p, breakglass.CodeForbidden, "no rule")
	}
	p := sign(w.t, w.sts.User("/OnCall/", "Alice"), w.honest())
	w.refused(w.login, p, breakglass.CodeForbidden, "no rule")
}

func wrongDate(w *world, alice, _ testenv.AWSKeys) {
	before := len(w.sts.Seen())
	for _, off := range []time.Duration{-65 * time.Second, 65 * time.Second, -10 * time.Minute, 14 * time.Minute, 24 * time.Hour} {
		in := w.honest()
		in.at = in.at.Add(off)
		w.refused(w.login, sign(w.t, alice, in), breakglass.CodeUnauthenticated, "more than 1m0s apart")
	}
	assert.Len(w.t, w.sts.Seen(), before)
	for _, date := range []string{"", "20260101", "2026-01-01T00:00:00Z", "20261301T000000Z", "20260101T000000+0100", time.Now().UTC().Format("20060102T150405.0Z")} {
		p := sign(w.t, alice, w.honest())
		p.Date = date
		w.refused(w.login, p, breakglass.CodeInvalidRequest, "amz_date")
	}
	// The scope of the key is of another day than the request.
	p := sign(w.t, alice, w.honest())
	p.Authorization = strings.Replace(p.Authorization, p.Date[:8], "20200101", 1)
	w.refused(w.login, p, breakglass.CodeInvalidRequest, "date of the credential")
}

func wrongNonce(w *world, alice, _ testenv.AWSKeys) {
	before := len(w.sts.Seen())
	good := w.login.Challenge().Nonce
	stranger := w.server(config, keys(w.t, "another key, of another breakglass server"))
	nonces := []string{stranger.Challenge().Nonce, strings.Repeat("A", len(good)), good + "A", good[1:], "x", good + "=", strings.ToLower(good)}
	for _, n := range nonces {
		in := w.honest()
		in.nonce = n
		w.refused(w.login, sign(w.t, alice, in), breakglass.CodeUnauthenticated, "nonce")
	}
	assert.Len(w.t, w.sts.Seen(), before)
}

func oldNonce(w *world, alice, _ testenv.AWSKeys) {
	in := w.honest()
	w.clock = 61 * time.Second
	later := w.server(config, w.keys)
	in.at = w.now()
	w.refused(later, sign(w.t, alice, in), breakglass.CodeUnauthenticated, "older than a minute")
	w.clock = -10 * time.Second
	ahead := w.server(config, w.keys)
	w.refused(ahead, sign(w.t, alice, w.honest()), breakglass.CodeUnauthenticated, "nonce")
}

// unsignedNonce: a signature that covers no nonce is good for STS as it is, and
// could have been made for anybody at any time.
func unsignedNonce(w *world, alice, _ testenv.AWSKeys) {
	nonce := w.login.Challenge().Nonce
	for name, leave := range map[string]func(*signing){
		"nonce": func(s *signing) { s.nonce = "" }, "server": func(s *signing) { s.server = "" },
	} {
		in := w.honest()
		leave(&in)
		p := sign(w.t, alice, in)
		p.Nonce, p.Server = nonce, here
		w.refused(w.login, p, breakglass.CodeInvalidRequest, "must sign the header x-breakglass-"+name)
	}
}

func unsignedToken(w *world, alice, oncall testenv.AWSKeys) {
	p := sign(w.t, alice, w.honest())
	p.SecurityToken = oncall.SessionToken
	w.refused(w.login, p, breakglass.CodeInvalidRequest, "must sign the header x-amz-security-token")
	q := sign(w.t, oncall, w.honest())
	q.SecurityToken = ""
	w.refused(w.login, q, breakglass.CodeInvalidRequest, "signs a header that is not sent")
}

func oversized(w *world, alice, _ testenv.AWSKeys) {
	long := strings.Repeat("a", 9000)
	for field, change := range map[string]func(*awsiam.Proof){
		"server": func(p *awsiam.Proof) { p.Server = long }, "nonce": func(p *awsiam.Proof) { p.Nonce = long },
		"authorization": func(p *awsiam.Proof) { p.Authorization += long }, "amz_date": func(p *awsiam.Proof) { p.Date += long },
		"security_token": func(p *awsiam.Proof) { p.SecurityToken = long },
	} {
		p := sign(w.t, alice, w.honest())
		change(&p)
		w.refused(w.login, p, breakglass.CodeInvalidRequest, field)
	}
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

func identity(arn, account string) string {
	return fmt.Sprintf(`{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Account":%q,"Arn":%q,"UserId":"AIDAEXAMPLE"},"ResponseMetadata":{"RequestId":"1"}}}`, account, arn)
}

// strangeAnswers: whatever isn't exactly the answer of STS names nobody.
func strangeAnswers(w *world, alice, _ testenv.AWSKeys) {
	good := identity("arn:aws:iam::"+home+":user/alice", home)
	defer w.sts.Instead(nil)
	give := func(status int, contentType, body string) {
		w.sts.Instead(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", contentType)
			rw.WriteHeader(status)
			_, _ = rw.Write([]byte(body))
		})
	}
	give(200, "application/json", good)
	w.admitted(w.login, sign(w.t, alice, w.honest()))
	victim := `"Arn":"arn:aws:iam::123456789012:user/alice"`
	for name, tc := range map[string]struct {
		status      int
		contentType string
		body        string
		code        breakglass.Code
	}{
		"XML":               {200, "text/xml", "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/alice</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>", breakglass.CodeUnavailable},
		"no content type":   {200, "", good, breakglass.CodeUnavailable},
		"201":               {201, "application/json", good, breakglass.CodeUnavailable},
		"204":               {204, "application/json", "", breakglass.CodeUnavailable},
		"a refusal":         {403, "application/json", good, breakglass.CodeUnauthenticated},
		"an error":          {400, "application/json", `{"Error":{"Code":"ExpiredToken","Message":"x"}}`, breakglass.CodeUnauthenticated},
		"throttled":         {400, "application/json", `{"Error":{"Code":"Throttling","Message":"Rate exceeded"}}`, breakglass.CodeUnavailable},
		"429":               {429, "application/json", good, breakglass.CodeUnavailable},
		"500":               {500, "application/json", good, breakglass.CodeUnavailable},
		"two documents":     {200, "application/json", good + good, breakglass.CodeUnavailable},
		"rubbish behind":    {200, "application/json", good + "x", breakglass.CodeUnavailable},
		"a list":            {200, "application/json", "[" + good + "]", breakglass.CodeUnavailable},
		"Arn twice":         {200, "application/json", strings.Replace(good, victim, `"Arn":"arn:aws:iam::999988887777:user/mallory",`+victim, 1), breakglass.CodeUnavailable},
		"Arn in two cases":  {200, "application/json", strings.Replace(good, victim, `"arn":"arn:aws:iam::999988887777:user/mallory",`+victim, 1), breakglass.CodeUnavailable},
		"lower case alone":  {200, "application/json", strings.Replace(good, `"Arn"`, `"arn"`, 1), breakglass.CodeUnavailable},
		"result twice":      {200, "application/json", strings.Replace(good, `"ResponseMetadata"`, `"GetCallerIdentityResult"`, 1), breakglass.CodeUnavailable},
		"nested elsewhere":  {200, "application/json", `{"x":` + good + `}`, breakglass.CodeUnavailable},
		"Arn is a number":   {200, "application/json", strings.Replace(good, victim, `"Arn":7`, 1), breakglass.CodeUnavailable},
		"Arn is null":       {200, "application/json", strings.Replace(good, victim, `"Arn":null`, 1), breakglass.CodeUnavailable},
		"another account":   {200, "application/json", identity("arn:aws:iam::"+home+":user/alice", elsewhere), breakglass.CodeUnavailable},
		"another partition": {200, "application/json", identity("arn:aws-cn:iam::"+home+":user/alice", home), breakglass.CodeUnavailable},
		"not UTF-8":         {200, "application/json", strings.Replace(good, "AIDA", "\xff", 1), breakglass.CodeUnavailable},
		"too long":          {200, "application/json", good + strings.Repeat(" ", 17<<10), breakglass.CodeUnavailable},
		"the root user":     {200, "application/json", identity("arn:aws:iam::"+home+":root", home), breakglass.CodeForbidden},
		"a federated user":  {200, "application/json", identity("arn:aws:sts::"+home+":federated-user/alice", home), breakglass.CodeForbidden},
		"a line break":      {200, "application/json", identity("arn:aws:iam::"+home+":user/alice\n", home), breakglass.CodeForbidden},
		"a role in a user":  {200, "application/json", identity("arn:aws:iam::"+home+":role/OnCall", home), breakglass.CodeForbidden},
	} {
		give(tc.status, tc.contentType, tc.body)
		s, err := w.login.Login(w.t.Context(), sign(w.t, alice, w.honest()))
		if assert.Error(w.t, err, "%s: logged in as %s", name, s.Name) {
			assert.Equal(w.t, tc.code, breakglass.AsError(err).Code, name)
		}
	}
}
