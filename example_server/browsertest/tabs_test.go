package browsertest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// twoTabs are logged in with the cookie: the first as alice, and then the second as root. So the
// first has an access token of alice, and the cookie is of root.
func twoTabs(t *testing.T, arguments ...string) (alice, root *tab) {
	t.Helper()
	s := start(t, arguments...)
	s.addAlice(t, "")
	alice = open(t, s)
	root = alice.another()
	alice.logIn("cookie", "alice", newPassword)
	root.logIn("cookie")
	return alice, root
}

// TestRequestIsNotRepeatedForAnotherAccount: what alice asks for is never sent with the token
// of root, whose cookie it is by now.
func TestRequestIsNotRepeatedForAnotherAccount(t *testing.T) {
	alice, _ := twoTabs(t, "-access-ttl", "6s")
	s := alice.server
	alice.click("details:has(#profile) summary")
	alice.fill("#profile-name", "alice2", "#profile-phone", "+1 555")
	alice.shows("#access-left", "Expired")
	alice.click("#profile button")
	alice.says("Another tab has logged in with another account")
	assert.Equal(t, "root", alice.text("#who-name"))
	assert.Equal(t, "root", value[string](alice, `document.getElementById("profile-name").value`), "what alice has typed is gone")
	alice.shows("#sessions-list", "this one")
	assert.NotContains(t, s.call(t, s.login(t, "root", rootPassword, "test"), "GET", "/me", ""), "alice2")
	assert.Contains(t, s.call(t, s.login(t, "alice", newPassword, "test"), "GET", "/me", ""), `"alice"`)
}

func TestRefreshSaysThatTheAccountIsAnother(t *testing.T) {
	alice, _ := twoTabs(t)
	alice.click("#sessions-all") // a question to alice is none to root
	alice.focused("confirm-no")
	alice.script(`document.getElementById("refresh").click()`)
	alice.says("Another tab has logged in with another account")
	alice.until(`!document.getElementById("confirm")`)
	assert.Equal(t, "root", alice.text("#who-name"))
	assert.True(t, alice.isVisible("#admin"))
}

// TestRefreshOfAnotherTabDoesNotOvertakeLogin: who has typed the password of root is not logged
// in as alice, because a late answer has brought her cookie back.
func TestRefreshOfAnotherTabDoesNotOvertakeLogin(t *testing.T) {
	s := start(t)
	s.addAlice(t, "")
	target, err := url.Parse(s.url)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is compared with the origin
	}}
	var slow, asked atomic.Bool
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if !strings.Contains(string(body), "grant_type=refresh_token") || !slow.CompareAndSwap(true, false) {
			proxy.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		proxy.ServeHTTP(answer, r)
		asked.Store(true)
		time.Sleep(3 * time.Second)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	defer front.Close()
	behind := *s
	behind.url = front.URL
	first := open(t, &behind)
	second := first.another()
	first.logIn("cookie", "alice", newPassword)
	slow.Store(true)
	first.click("#refresh")
	require.Eventually(t, asked.Load, patience, 10*time.Millisecond)
	second.logIn("cookie")
	second.until(`document.getElementById("who-name").textContent !== ""`)
	assert.Equal(t, "root", second.text("#who-name"))
	second.click("#refresh")
	second.says("Refreshed")
}

// TestRequestsOfTheCookieWaitForTheLock: each request that sets or clears it.
func TestRequestsOfTheCookieWaitForTheLock(t *testing.T) {
	p := open(t, start(t))
	waits := func(says string, press func()) {
		t.Helper()
		p.script(`globalThis.held = new Promise((taken) => navigator.locks.request("oauthsv cookie of browser",
			() => { taken(); return new Promise((done) => { globalThis.release = done }) }))`)
		value[any](p, `held`)
		p.script(`document.getElementById("journal").replaceChildren()`)
		press()
		time.Sleep(200 * time.Millisecond)
		assert.Empty(t, p.text("#journal"), "nothing is sent before %q", says)
		p.script(`release()`)
		p.says(says)
	}
	waits("You are logged in.", func() {
		p.fill("#login-username", "root", "#login-password", rootPassword)
		p.click("#keep-cookie")
		p.click("#login button")
	})
	p.focused("tokens-heading")
	waits("Refreshed", func() { p.click("#refresh") })
	waits("The password is changed.", func() {
		p.click("details:has(#password) summary")
		p.fill("#password-current", rootPassword, "#password-new", newPassword)
		p.click("#password button")
	})
	p.focused("tokens-heading")
	waits("You are logged out", func() { p.click("#logout") })
	p.logIn("cookie", "root", newPassword)
	waits("All sessions of the account have ended.", func() { p.click("#sessions-all"); p.click("#confirm-yes") })
}

// TestLostCookieIsNoEndOfTheSession: the access token still works. To log out ends it.
func TestLostCookieIsNoEndOfTheSession(t *testing.T) {
	p := open(t, start(t))
	p.logIn("cookie")
	p.run(command(network.ClearBrowserCookies, cdp.Empty{}))
	p.click("#refresh")
	p.says("There is no cookie with a refresh token.")
	p.shows("#story", "there is no cookie to get a new one with")
	p.shows("#cookie-note", "The cookie is gone")
	assert.NotContains(t, p.text("#access-left"), "ended")
	p.click("#call-me")
	p.says("/me answered with 200.")
	token := p.text("#access-raw")
	p.click("#logout")
	p.says("You are logged out")
	assert.Equal(t, 401, p.server.me(t, token))
}

// TestRefusedCookieIsNoLogoutElsewhere: a tab says what another has found, and stays as it is.
func TestRefusedCookieIsNoLogoutElsewhere(t *testing.T) {
	s := start(t)
	path := s.addAlice(t, "")
	first := open(t, s)
	first.logIn("cookie", "alice", newPassword)
	second := first.another()
	second.says("The cookie has logged you in again.")
	s.call(t, s.login(t, "root", rootPassword, "test"), "DELETE", path+"/sessions", "")
	second.click("#refresh")
	second.says("The grant is invalid, expired or revoked.")
	first.says("Another tab has found that the cookie is gone")
	assert.True(t, first.isVisible("#inside"))
	first.click("#call-me")
	first.shows("#story", "This session has ended")
	first.visit()
	assert.True(t, first.isVisible("#login"))
}
