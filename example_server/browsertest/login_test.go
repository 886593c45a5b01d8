package browsertest

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLoginShowsBothTokens(t *testing.T) {
	p := open(t, start(t, "-issuer", "http://127.0.0.1/tenant/a"))
	p.logIn("page")
	assert.Equal(t, "root", p.text("#who-name"))
	assert.Equal(t, "1", p.text("#generation"))
	for selector, parts := range map[string][]string{
		"#access-token":  {"at+jwt", "http://127.0.0.1/tenant/a", "Good for 14 min"},
		"#refresh-token": {"rt+jwt", "http://127.0.0.1/tenant/a/token", "Good for 29 days"},
	} {
		for _, part := range parts {
			p.shows(selector, part)
		}
	}
	p.click("#call-me")
	p.says("/me answered with 200.")
	assert.Contains(t, p.text("#answer-body"), `"name": "root"`)
	p.click("#call-introspect")
	p.says("/tenant/a/introspect answered with 200.")
	assert.Contains(t, p.text("#answer-body"), `"active": true`)
	p.click("#refresh")
	p.says("Refreshed: the session is in generation 2")

	p.visit()
	assert.True(t, p.isVisible("#login"), "tokens in memory do not survive a reload")
	assert.Zero(t, value[int](p, `localStorage.length + sessionStorage.length + document.cookie.length`))
}

func TestLogoutEndsSession(t *testing.T) {
	p := open(t, start(t))
	p.logIn("page")
	token := p.text("#access-raw")
	p.click("#logout")
	p.says("You are logged out")
	p.focused("login-heading")
	assert.True(t, p.isVisible("#login"))
	assert.False(t, p.isVisible("#inside"))
	assert.Equal(t, 401, p.server.me(t, token))
}

// me asks for the account of an access token, and returns the status.
func (s *server) me(t *testing.T, token string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", s.url+"/me", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	response.Body.Close()
	return response.StatusCode
}

// --- The old refresh token -----------------------------------------------------------

func TestOldRefreshTokenIsReuseOnceItsSuccessorWasUsed(t *testing.T) {
	p := open(t, start(t))
	p.logIn("page")
	p.shows("#story", "as the login has made it")
	assert.False(t, p.isVisible("#present-old"))
	p.click("#refresh")
	p.says("generation 2")
	p.click("#call-me")
	p.says("answered with 200")
	p.shows("#story", "Whoever presents the refresh token of generation 1 now is refused, and the session ends")
	p.click("#present-old")
	p.says("the server takes this for reuse")
	p.shows("#story", "This session has ended")
	p.shows("#access-left", "Refused")
	p.shows("#answer-body", `"error": "invalid_grant"`)
	p.picture("reuse-desktop-light")
	p.click("#call-me")
	p.shows("#answer-status", "401")
	p.click("#refresh")
	p.says("The grant is invalid, expired or revoked.")

	assert.Equal(t, "Log in again", p.text("#logout"))
	p.click("#logout")
	p.focused("login-heading")
	p.logIn("page")
	assert.Equal(t, "1", p.text("#generation"))
	assert.False(t, p.isVisible("#present-old"), "the old token was of another session")
}

func TestOldRefreshTokenIsAnsweredWhereReplyCountsAsLost(t *testing.T) {
	p := open(t, start(t))
	p.logIn("page")
	p.click("#refresh")
	p.says("generation 2")
	lost := p.text("#access-raw")
	p.shows("#story", "As far as this page knows, nobody has used the new access token yet")
	p.click("#present-old")
	p.says("nobody had used the last access token")
	assert.Equal(t, "3", p.text("#generation"))
	assert.Equal(t, 401, p.server.me(t, lost), "the lost pair is void")
	p.click("#call-me")
	p.says("answered with 200")
}

func TestOldRefreshTokenIsAnsweredWithinReuseInterval(t *testing.T) {
	p := open(t, start(t, "-reuse-interval", "60s"))
	p.logIn("page")
	p.click("#refresh")
	p.says("generation 2")
	p.click("#call-me")
	p.says("answered with 200")
	p.shows("#story", "s the server still takes the refresh token of generation 1 as well")
	p.click("#present-old")
	p.says("Answered: within the reuse interval")
	assert.Equal(t, "2", p.text("#generation"))
	p.click("#call-me")
	p.says("answered with 200")
}

// --- Refusals ------------------------------------------------------------------------

func TestWrongPasswordIsSaidAtTheFields(t *testing.T) {
	p := open(t, start(t))
	p.fill("#login-username", "root", "#login-password", "wrong")
	p.click("#login button")
	p.shows("#login-error", "Unknown name or wrong password.")
	assert.Empty(t, p.text("#status"), "it is said once")
	p.focused("login-username")
	for _, id := range []string{"#login-username", "#login-password"} {
		assert.True(t, value[bool](p, `document.querySelector("`+id+`").matches("[aria-invalid=true][aria-describedby~=login-error]")`), id)
	}
	p.logIn("page")
	p.click("#logout")
	p.says("You are logged out")
	assert.Empty(t, p.text("#login-error"))
	assert.False(t, value[bool](p, `Boolean(document.querySelector("[aria-invalid]"))`))
}

func TestLoginNeedsNameAndPassword(t *testing.T) {
	p := open(t, start(t))
	p.click("#login button")
	p.shows("#login-error", "Type your name or e-mail, and your password.")
	p.focused("login-username")
	p.fill("#login-username", "root")
	p.click("#login button")
	p.focused("login-password")
	assert.Empty(t, p.text("#status"), "it is said once")
}

func TestThrottledLoginSaysWhenToTryAgain(t *testing.T) {
	s := start(t)
	for range 12 {
		response, err := http.PostForm(s.url+"/token", url.Values{"grant_type": {"password"}, "username": {"root"}, "password": {"wrong"}})
		require.NoError(t, err)
		response.Body.Close()
	}
	p := open(t, s)
	p.fill("#login-username", "root", "#login-password", rootPassword)
	p.click("#login button")
	p.shows("#login-error", "Too many attempts. Try again in ")
	assert.Regexp(t, `Try again in \d+ seconds?\.`, p.text("#login-error"))
}

func TestOutageIsNoFaultOfTheUser(t *testing.T) {
	p := open(t, start(t))
	p.logIn("page")
	p.script(`globalThis.fetch = async () => new Response('{"error":"temporarily_unavailable"}', {status: 503, headers: {'Retry-After': '5'}})`)
	p.click("#refresh")
	p.says("The server has an outage, for example of its store. Nothing is wrong with what you sent. Try again in 5 seconds.")
	assert.NotContains(t, p.text("#story"), "ended")
}

func TestNetworkFailureLosesNothing(t *testing.T) {
	s := start(t)
	p := open(t, s)
	p.logIn("page")
	require.NoError(t, s.process.Kill())
	p.click("#refresh")
	p.says("No answer came from the server.")
	assert.Equal(t, "1", p.text("#generation"))
	assert.NotContains(t, p.text("#story"), "ended")
	p.click("#logout")
	p.says("No answer came from the server.")
	assert.True(t, p.isVisible("#inside"), "the session has not ended")
}

func TestExpiredAccessTokenIsNoEndOfTheSession(t *testing.T) {
	p := open(t, start(t, "-access-ttl", "2s"))
	p.logIn("page")
	p.shows("#access-left", "Expired")
	p.click("#call-me")
	p.says("The access token has expired. Refresh to get a new one.")
	p.click("#refresh")
	p.says("generation 2")
	assert.NotContains(t, p.text("#story"), "ended")
}

// --- Sessions ------------------------------------------------------------------------

func TestSessionEndedInListIsRefused(t *testing.T) {
	s := start(t)
	first, second := open(t, s), open(t, s)
	first.logIn("page")
	second.logIn("page")
	second.until(`document.querySelectorAll("#sessions-list > li").length === 2`)
	assert.Equal(t, 1, value[int](second, `[...document.querySelectorAll("#sessions-list h3")].filter(h => h.textContent.includes("this one")).length`))
	assert.Contains(t, second.text("#sessions-list"), "127.0.0.1")
	assert.Contains(t, second.text("#sessions-list"), "HeadlessChrome")
	second.click(`#sessions-list [aria-label^="End it: the session of page"]`)
	second.says("The session of page has ended")
	second.focused("sessions-heading")
	second.until(`document.querySelectorAll("#sessions-list > li").length === 1`)

	first.click("#call-me")
	first.shows("#answer-status", "401")
	first.shows("#story", "This session has ended")

	second.click("#sessions-list button")
	second.says("You have ended this session.")
	assert.True(t, second.isVisible("#login"))
}

func TestAllOtherSessionsEnd(t *testing.T) {
	s := start(t)
	first, second := open(t, s), open(t, s)
	first.logIn("page")
	second.logIn("page")
	second.click("#sessions-others")
	second.says("All other sessions have ended.")
	first.click("#call-me")
	first.shows("#answer-status", "401")
	second.click("#call-me")
	second.says("answered with 200")

	second.click("#sessions-all")
	second.focused("confirm-no")
	second.press(enterKey)
	second.until(`!document.getElementById("confirm")`)
	second.click("#sessions-all")
	second.click("#confirm-yes")
	second.says("All sessions of the account have ended.")
	assert.True(t, second.isVisible("#login"))
}

func TestSessionWithoutClientIDIsExplained(t *testing.T) {
	s := start(t)
	s.login(t, "root", rootPassword, "")
	p := open(t, s)
	p.logIn("page")
	p.shows("#sessions-list", "a client that sent no client_id")
	assert.NotContains(t, p.text("#sessions-list"), "default")
}
