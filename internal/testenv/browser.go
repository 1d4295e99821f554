package testenv

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Browser is a headless Chromium, driven over WebDriver
// (https://www.w3.org/TR/webdriver2/). Its methods end the test when they fail.
type Browser struct {
	t       testing.TB
	session string // URL
}

const browserTimeout = 60 * time.Second

var driverPort = regexp.MustCompile(`started successfully on port ([0-9]+)`)

// Chromium starts a browser with an empty profile, which ends with the test;
// where none is installed it ends the test as Require does.
func Chromium(t testing.TB) *Browser {
	t.Helper()
	driver, err := exec.LookPath("chromedriver")
	Require(t, err == nil, "needs chromedriver, which is not installed")
	chromium, err := exec.LookPath("chromium")
	Require(t, err == nil, "needs chromium, which is not installed")
	profile, err := os.MkdirTemp("", "breakglass-chromium-")
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	b := &Browser{t: t}
	t.Cleanup(func() { _ = os.RemoveAll(profile) }) // when the driver has ended
	var said string
	for range 5 {
		var port string
		if port, said = startDriver(t, driver); port == "" {
			continue
		}
		t.Cleanup(func() {
			if b.session != "" {
				_ = b.try(http.MethodDelete, "", nil, nil)
			}
		})
		b.start("http://127.0.0.1:"+port+"/session", chromium, profile)
		return b
	}
	t.Fatalf("testenv: chromedriver ended before it listened: %s", said)
	return nil
}

// startDriver returns the port of a chromedriver that ends with the test, or no
// port and what it said last: it asks for a free port in IPv4 and gives up when
// the same one is taken in IPv6.
func startDriver(t testing.TB, path string) (port, said string) {
	t.Helper()
	cmd := exec.Command(path, "--port=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("testenv: starting chromedriver: %v", err)
	}
	last, listening, drained := "", make(chan string, 1), make(chan struct{})
	go func() {
		defer close(drained)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			last = lines.Text()
			if m := driverPort.FindStringSubmatch(last); m != nil {
				listening <- m[1]
			}
		}
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the driver and all that it started
		<-drained
		_ = cmd.Wait()
	})
	select {
	case port = <-listening:
		return port, ""
	case <-drained:
		return "", last
	case <-time.After(browserTimeout):
		t.Fatalf("testenv: chromedriver did not listen within %s", browserTimeout)
		return "", ""
	}
}

func (b *Browser) start(driver, chromium, profile string) {
	b.t.Helper()
	var got struct {
		SessionID string `json:"sessionId"`
	}
	b.session = driver
	err := b.try(http.MethodPost, "", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName": "chrome",
		"goog:chromeOptions": map[string]any{"binary": chromium, "args": []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
			"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server",
			// Pages ask for fonts and the like; nothing leaves this machine.
			"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost", "--user-data-dir=" + profile}},
		"timeouts": map[string]int{"implicit": 20_000, "pageLoad": 30_000},
	}}}, &got)
	b.session = ""
	if err != nil {
		b.t.Fatalf("testenv: starting chromium: %v", err)
	}
	b.session = driver + "/" + got.SessionID
}

// try makes one call of the driver.
func (b *Browser) try(method, path string, body, out any) error {
	if body == nil {
		body = map[string]any{}
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if method != http.MethodPost {
		data = nil
	}
	req, err := http.NewRequest(method, b.session+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	client := http.Client{Timeout: browserTimeout}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %.300s", method, path, answer.Value)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, out)
}

func (b *Browser) do(method, path string, body, out any) {
	b.t.Helper()
	if err := b.try(method, path, body, out); err != nil {
		b.t.Fatalf("testenv: the browser: %v", err)
	}
}

// Open goes to an address and waits until the page is there.
func (b *Browser) Open(address string) {
	b.t.Helper()
	b.do(http.MethodPost, "/url", map[string]string{"url": address}, nil)
}

// URL is the address of the page.
func (b *Browser) URL() (address string) {
	b.t.Helper()
	b.do(http.MethodGet, "/url", nil, &address)
	return address
}

// Source is the page as HTML.
func (b *Browser) Source() (html string) {
	b.t.Helper()
	b.do(http.MethodGet, "/source", nil, &html)
	return html
}

// Text is what a person reads on the page.
func (b *Browser) Text() (text string) {
	b.t.Helper()
	b.do(http.MethodGet, "/element/"+b.find("body")+"/text", nil, &text)
	return text
}

// find waits for an element.
func (b *Browser) find(selector string) (id string) {
	b.t.Helper()
	return b.findBy("css selector", selector)
}

func (b *Browser) findBy(strategy, selector string) (id string) {
	b.t.Helper()
	var element map[string]string
	b.do(http.MethodPost, "/element", map[string]string{"using": strategy, "value": selector}, &element)
	for _, id := range element {
		return id
	}
	b.t.Fatalf("testenv: the browser found no %s", selector)
	return ""
}

// Await waits until the page has an element.
func (b *Browser) Await(selector string) {
	b.t.Helper()
	b.find(selector)
}

// AwaitText waits until the page shows a text, which holds no double quote.
func (b *Browser) AwaitText(text string) {
	b.t.Helper()
	b.findBy("xpath", `//body//*[contains(text(), "`+text+`")]`)
}

// Fill types a text into a field.
func (b *Browser) Fill(selector, text string) {
	b.t.Helper()
	id := b.find(selector)
	b.do(http.MethodPost, "/element/"+id+"/clear", nil, nil)
	b.do(http.MethodPost, "/element/"+id+"/value", map[string]string{"text": text}, nil)
}

// Click clicks an element.
func (b *Browser) Click(selector string) {
	b.t.Helper()
	b.do(http.MethodPost, "/element/"+b.find(selector)+"/click", nil, nil)
}

// Screenshot keeps a picture of the page.
func (b *Browser) Screenshot(path string) {
	b.t.Helper()
	var picture string
	b.do(http.MethodGet, "/screenshot", nil, &picture)
	png, err := base64.StdEncoding.DecodeString(strings.TrimSpace(picture))
	if err == nil {
		err = os.WriteFile(path, png, 0o600)
	}
	if err != nil {
		b.t.Fatalf("testenv: screenshot: %v", err)
	}
}
