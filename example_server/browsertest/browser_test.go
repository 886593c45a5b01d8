package browsertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience is how long a condition may take to come true. A login hashes a password, and the
// machine may be busy.
const patience = 20 * time.Second

// browser is one Chromium for all tests. Each test has a profile of its own in it.
var browser = sync.OnceValues(func() (context.Context, error) {
	path := os.Getenv("OAUTHSV_TEST_CHROMIUM")
	if path == "" {
		var err error
		if path, err = exec.LookPath("chromium"); err != nil {
			return nil, errors.New("to run this test, install chromium, or name the program in OAUTHSV_TEST_CHROMIUM")
		}
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(profile),
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("host-resolver-rules", "MAP "+plainHost+" 127.0.0.1"),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(time.Minute),
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	running, cancel := chromedp.NewContext(allocator)
	closeBrowser = func() { cancel(); stop() }
	return running, chromedp.Do(running)
})

var closeBrowser = func() {}

// tab is a tab of the browser with the page in it.
type tab struct {
	t        *testing.T
	ctx      context.Context
	server   *server
	problems chan string // what a user would find in the console
}

// open opens the page in a profile without cookies.
func open(t *testing.T, server *server) *tab {
	t.Helper()
	running, err := browser()
	if err != nil {
		if running == nil && os.Getenv("CI") == "" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	return load(t, running, server, chromedp.WithNewBrowserContext())
}

// another opens the page in a second tab of the same profile.
func (p *tab) another() *tab {
	p.t.Helper()
	return load(p.t, p.ctx, p.server)
}

func load(t *testing.T, parent context.Context, server *server, options ...chromedp.ContextOption) *tab {
	t.Helper()
	p := &tab{t: t, server: server, problems: make(chan string, 100)}
	ctx, cancel := chromedp.NewContext(parent, append(options, chromedp.WithListener(p.listen))...)
	p.ctx = ctx
	require.NoError(t, chromedp.Do(ctx), "a deadline here would be that of the tab")
	t.Cleanup(func() {
		cancel()
		for range len(p.problems) {
			assert.Fail(t, "the browser complains", <-p.problems)
		}
	})
	p.run(chromedp.EmulateViewport(1280, 900))
	p.visit()
	return p
}

func (p *tab) listen(event any) {
	complaint := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		complaint = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			complaint += " " + e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			complaint = fmt.Sprintf("console: %s", e.Args[0].Value)
		}
	case *log.EventEntryAdded:
		// Chromium reports each refused request. Those of the endpoints are what the tests
		// are about.
		expected := e.Entry.Source == log.EntrySourceNetwork && !strings.Contains(e.Entry.URL, "/page/")
		// It heeds the header Cross-Origin-Opener-Policy of https alone.
		expected = expected || strings.Contains(p.server.url, plainHost) && strings.Contains(e.Entry.Text, "Cross-Origin-Opener-Policy")
		if e.Entry.Level != log.EntryLevelInfo && e.Entry.Level != log.EntryLevelVerbose && !expected {
			complaint = fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	}
	if complaint != "" {
		select {
		case p.problems <- complaint:
		default:
		}
	}
}

// --- What a user does ----------------------------------------------------------------

func (p *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, actions...), p.server.stderr)
}

// command is an action that sends one command to the browser.
func command[P, R any](command cdp.Command[P, R], parameters P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, command, parameters)
		return err
	})
}

// visit loads the page, or loads it again.
func (p *tab) visit() {
	p.t.Helper()
	p.run(chromedp.Navigate(p.server.url + "/"))
	p.until(`document.body.dataset.ready === 'yes'`)
}

func (p *tab) click(selector string) {
	p.t.Helper()
	p.run(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// fill types into empty fields: selector, text, selector, text, ...
func (p *tab) fill(fields ...string) {
	p.t.Helper()
	for i := 0; i < len(fields); i += 2 {
		p.run(chromedp.Focus(chromedp.CSS(fields[i]), chromedp.NodeVisible))
		p.script(`document.activeElement.select()`)
		p.run(command(input.InsertText, input.InsertTextParams{Text: fields[i+1]}))
	}
}

// press presses keys, one after the other.
func (p *tab) press(keys ...string) {
	p.t.Helper()
	for _, key := range keys {
		p.run(chromedp.KeyEvent(key))
	}
}

const tabKey, enterKey = kb.Tab, kb.Enter

var backwards = chromedp.KeyEvent(tabKey, chromedp.KeyModifiers(chromedp.ModifierShift))

// plainHost is a name of this machine. Browsers trust it no more than any other host without
// https.
const plainHost = "plain.test"

// logIn logs in as root, or as somebody else.
func (p *tab) logIn(keep string, credentials ...string) {
	p.t.Helper()
	name, password := "root", rootPassword
	if len(credentials) > 0 {
		name, password = credentials[0], credentials[1]
	}
	p.fill("#login-username", name, "#login-password", password)
	p.click("#keep-" + keep)
	p.click("#login button")
	p.says("You are logged in.")
	p.focused("tokens-heading")
}

// --- What a user sees ----------------------------------------------------------------

// value returns what an expression is in the page.
func value[T any](p *tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(p.t, err, expression)
	return result
}

// script runs statements in the page.
func (p *tab) script(statements string) {
	p.t.Helper()
	value[bool](p, "(() => {"+statements+"; return true})()")
}

func (p *tab) text(selector string) string {
	p.t.Helper()
	return value[string](p, fmt.Sprintf(`document.querySelector(%q)?.textContent ?? ''`, selector))
}

// until waits until an expression is true.
func (p *tab) until(expression string) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		result, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		cancel()
		if err == nil && result {
			return
		}
		if time.Now().After(deadline) {
			require.Fail(p.t, "never became true", "%s %v\nthe page: %s\nthe server: %s", expression, err, value[string](p, `document.body.innerText`), p.server.stderr)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// says waits until the status of the page holds a text.
func (p *tab) says(text string) {
	p.t.Helper()
	p.until(fmt.Sprintf(`document.getElementById('status').textContent.includes(%q)`, text))
}

func (p *tab) shows(selector, text string) {
	p.t.Helper()
	p.until(fmt.Sprintf(`document.querySelector(%q)?.textContent.includes(%q)`, selector, text))
}

func (p *tab) isVisible(selector string) bool {
	p.t.Helper()
	return value[bool](p, fmt.Sprintf(`Boolean(document.querySelector(%q)?.checkVisibility())`, selector))
}

// focused waits until the element with an id has the focus.
func (p *tab) focused(id string) {
	p.t.Helper()
	p.until(fmt.Sprintf(`document.activeElement.id === %q`, id))
}

// scheme chooses between the two colour schemes.
func (p *tab) scheme(name string) {
	p.t.Helper()
	p.run(command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	}))
}
