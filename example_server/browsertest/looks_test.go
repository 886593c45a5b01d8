package browsertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// picture writes a screenshot of the window, if somebody wants to see it.
func (p *tab) picture(name string) {
	p.t.Helper()
	directory := os.Getenv("OAUTHSV_TEST_SCREENSHOTS")
	if directory == "" {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	image, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	require.NoError(p.t, err)
	require.NoError(p.t, os.MkdirAll(directory, 0o755))
	require.NoError(p.t, os.WriteFile(filepath.Join(directory, name+".png"), image, 0o644))
}

var windows = []struct {
	name          string
	width, height int64
}{{"desktop", 1280, 900}, {"phone", 390, 844}, {"narrow", 320, 640}}

// eachLook calls look with each size of the window and each colour scheme, with a part of the
// page in view.
func (p *tab) eachLook(state, part string, look func()) {
	p.t.Helper()
	for _, window := range windows {
		for _, scheme := range []string{"light", "dark"} {
			p.scheme(scheme)
			p.run(chromedp.EmulateViewport(window.width, window.height))
			p.script(fmt.Sprintf(`document.querySelector(%q).scrollIntoView({behavior: "instant"})`, part))
			look()
			if window.name != "narrow" {
				p.picture(state + "-" + window.name + "-" + scheme)
			}
		}
	}
}

// TestPageFitsEveryWindow in each of its states, with nothing to scroll to the side.
func TestPageFitsEveryWindow(t *testing.T) {
	p := open(t, start(t, "-mail-to-log", "-reuse-interval", "10s"))
	fits := func() {
		t.Helper()
		assert.LessOrEqual(t, value[int](p, `document.documentElement.scrollWidth - innerWidth`), 0)
	}
	p.eachLook("login", "body", fits)
	p.fill("#login-username", "root", "#login-password", "wrong")
	p.click("#login button")
	p.shows("#login-error", "Unknown name or wrong password.")
	p.eachLook("wrong-password", "#login", fits)
	p.logIn("page")
	p.eachLook("tokens", "body", fits)
	p.click("#refresh")
	p.says("generation 2")
	p.eachLook("refreshed", "#main", fits)
	p.click("#call-me")
	p.says("/me answered with 200")
	p.eachLook("answer", "#answer", fits)
	p.addAccounts(3)
	p.click("#admin-search button")
	p.says("Found 4.")
	p.script(`for (const details of document.querySelectorAll('details')) details.open = true`)
	p.eachLook("raw", "#access-token details", fits)
	p.eachLook("sessions", "#sessions", fits)
	p.eachLook("account", "#account", fits)
	p.eachLook("admin", "#admin", fits)
	p.click("#sessions-all")
	p.focused("confirm-no")
	p.eachLook("dialog", "#sessions", fits)
}
