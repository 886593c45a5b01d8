package browsertest

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cookie returns the refresh token that the browser keeps for the page, or "".
func (p *tab) cookie() string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, func(ctx context.Context, target *chromedp.Target) (network.GetCookiesResult, error) {
		return cdp.Call(ctx, target, network.GetCookies, network.GetCookiesParams{})
	})
	require.NoError(p.t, err)
	for _, cookie := range result.Cookies {
		if cookie.Name == "__Host-refresh_token" {
			assert.True(p.t, cookie.HTTPOnly && cookie.Secure && cookie.SameSite == network.CookieSameSiteStrict)
			return cookie.Value
		}
	}
	return ""
}

// TestNoScriptSeesTheRefreshToken of a login with the cookie: neither in what the page holds
// in memory, nor in what it shows, nor where it could keep something.
func TestNoScriptSeesTheRefreshToken(t *testing.T) {
	p := open(t, start(t))
	p.logIn("cookie")
	seen := func() string {
		t.Helper()
		return value[string](p, `import("/page/login.js").then(({login}) =>
			JSON.stringify([login, document.cookie, localStorage, sessionStorage]) + document.documentElement.outerHTML)`)
	}
	require.Contains(t, seen(), value[string](p, `document.getElementById("access-raw").textContent`))
	for range 2 {
		token := p.cookie()
		require.NotEmpty(t, token)
		parts := strings.Split(token, ".")
		for _, part := range []string{token, parts[2], "rt+jwt"} {
			assert.NotContains(t, seen(), part)
		}
		p.click("#refresh")
		p.says("Refreshed")
	}
	assert.Empty(t, value[string](p, `document.cookie`))
	assert.Equal(t, "nothing", p.text("#cookie-seen"))
	assert.False(t, p.isVisible("#present-old"))
}

func TestReloadKeepsLoginInCookie(t *testing.T) {
	p := open(t, start(t))
	p.logIn("cookie")
	p.picture("cookie-desktop-light")
	for range 2 {
		p.visit()
		p.says("The cookie has logged you in again.")
		p.until(`document.getElementById("who-name").textContent === "root"`)
	}
	p.click("#logout")
	p.says("You are logged out")
	assert.Empty(t, p.cookie())
	p.visit()
	assert.True(t, p.isVisible("#login"), "the logout survives a reload")
	assert.Empty(t, p.text("#status"))
}

// TestExpiredAccessTokenIsReplaced on the way, where the refresh token is in the cookie.
func TestExpiredAccessTokenIsReplaced(t *testing.T) {
	p := open(t, start(t, "-access-ttl", "1s"))
	p.logIn("cookie")
	p.shows("#access-left", "Expired")
	before := p.text("#generation")
	p.click("#call-me")
	p.says("/me answered with 200.")
	assert.NotEqual(t, before, p.text("#generation"))
}

// TestTabsShareTheCookie: tabs that refresh at once all stay logged in, though this server
// forgives no second use, because they share a lock. A logout in one is a logout in all.
func TestTabsShareTheCookie(t *testing.T) {
	first := open(t, start(t, "-reuse-interval", "0", "-lost-reply-window", "0"))
	first.logIn("cookie")
	second := first.another()
	second.says("The cookie has logged you in again.")
	for range 3 {
		for _, p := range []*tab{first, second} {
			p.script(`document.getElementById("status").replaceChildren(); document.getElementById("refresh").click()`)
		}
		for _, p := range []*tab{first, second} {
			p.says("Refreshed")
			p.click("#call-me")
			p.says("/me answered with 200.")
		}
	}
	second.click("#logout")
	second.says("You are logged out")
	first.says("You have logged out in another tab.")
	assert.True(t, first.isVisible("#login"))
}

// TestPageSaysThatBrowserKeptNoCookie: without https no browser keeps it, but for the machine
// itself.
func TestPageSaysThatBrowserKeptNoCookie(t *testing.T) {
	s := start(t)
	elsewhere := *s
	elsewhere.url = strings.Replace(s.url, "127.0.0.1", plainHost, 1)
	p := open(t, &elsewhere)
	p.fill("#login-username", "root", "#login-password", rootPassword)
	p.click("#keep-cookie")
	p.click("#login button")
	p.says("You are logged in, but the browser did not keep the cookie.")
	p.shows("#cookie-note", "The browser did not keep the cookie.")
	p.click("#call-me")
	p.says("/me answered with 200.")
	token := p.text("#access-raw")
	p.click("#logout")
	p.says("You are logged out")
	assert.Equal(t, 401, s.me(t, token))
	p.visit()
	assert.Empty(t, p.text("#status"))
}

func TestCookieCanBeTurnedOff(t *testing.T) {
	p := open(t, start(t, "-cookie-client", ""))
	assert.False(t, p.isVisible("#keep-cookie"))
	p.shows("#login", "turned off on this server")
	p.logIn("page")
}
