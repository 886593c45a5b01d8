package browsertest

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestTokenThatIsRefusedOtherwiseWasUsed: the server checks the token first. So it has accepted
// the token of somebody who may not introspect, of a name that is taken, and of a password that
// is wrong.
func TestTokenThatIsRefusedOtherwiseWasUsed(t *testing.T) {
	s := start(t)
	s.addAlice(t, "")
	p := open(t, s)
	for name, use := range map[string]func(){
		"401 of introspection": func() {
			p.click("#call-introspect")
			p.shows("#answer-status", "401")
		},
		"403 of a group": func() {
			p.click("#call-admin")
			p.shows("#answer-status", "403")
		},
		"409": func() {
			p.script(`document.querySelector("details:has(#profile)").open = true`)
			p.fill("#profile-name", "root")
			p.click("#profile button")
			p.shows("#profile-error", "The name is taken.")
		},
		"422": func() {
			p.script(`document.querySelector("details:has(#profile)").open = true`)
			p.fill("#profile-name", "no blanks please")
			p.click("#profile button")
			p.shows("#profile-error", "The value is refused.")
		},
	} {
		p.logIn("page", "alice", newPassword)
		p.click("#refresh")
		p.says("generation 2")
		p.shows("#story", "As far as this page knows, nobody has used the new access token yet")
		use()
		assert.Contains(t, p.text("#story"), "Whoever presents the refresh token of generation 1 now is refused", name)
		p.click("#present-old")
		p.says("the server takes this for reuse")
		p.click("#logout")
		p.focused("login-heading")
	}
}

// TestOutageSaysNothingOfTheToken: it may have come before the check of the token.
func TestOutageSaysNothingOfTheToken(t *testing.T) {
	p := open(t, start(t))
	p.logIn("page")
	p.click("#refresh")
	p.says("generation 2")
	p.script(`globalThis.fetch = async () => new Response('{"error":"temporarily_unavailable"}', {status: 503})`)
	p.click("#call-me")
	p.says("The server has an outage")
	assert.Contains(t, p.text("#story"), "nobody has used")
}

func TestRefusalOfOldTokenMayMeanThatTheSessionHadEnded(t *testing.T) {
	s := start(t)
	path := s.addAlice(t, "")
	p := open(t, s)
	p.logIn("page", "alice", newPassword)
	p.click("#refresh")
	p.says("generation 2")
	s.call(t, s.login(t, "root", rootPassword, "test"), "DELETE", path+"/sessions", "")
	p.click("#present-old")
	p.says("or the session had ended before")
	assert.NotContains(t, s.stderr.String(), "refresh_token_reused")
}

// TestTokenExpiresALittleEarly: its lifetime is in whole seconds, so the server may refuse it
// while the page still counts. The session has not ended by that.
func TestTokenExpiresALittleEarly(t *testing.T) {
	p := open(t, start(t, "-access-ttl", "2s"))
	p.logIn("page")
	p.click("#refresh")
	p.says("generation 2")
	p.script(`globalThis.sent = globalThis.fetch; globalThis.fetch = async () => new Response('{"error":"invalid_token"}', {status: 401})`)
	p.click("#call-me")
	p.says("The access token has expired. Refresh to get a new one.")
	assert.NotContains(t, p.text("#story"), "ended")
	p.script(`globalThis.fetch = globalThis.sent`)
	p.click("#refresh")
	p.says("generation 3")
}

// TestLostAnswerIsNotCalledHarmless: without a window for lost replies, the second refresh is
// reuse.
func TestLostAnswerIsNotCalledHarmless(t *testing.T) {
	p := open(t, start(t, "-lost-reply-window", "0"))
	p.logIn("page")
	p.script(`globalThis.sent = globalThis.fetch; globalThis.fetch = async (...request) => { await sent(...request); throw new TypeError() }`)
	p.click("#refresh")
	p.says("It may have done what you asked all the same.")
	p.script(`globalThis.fetch = globalThis.sent`)
	p.click("#refresh")
	p.says("The grant is invalid, expired or revoked.")
	p.shows("#story", "This session has ended")
}

func TestLogInAgainRevokesTheSession(t *testing.T) {
	p := open(t, start(t))
	p.logIn("page")
	token := p.text("#access-raw")
	p.script(`globalThis.sent = globalThis.fetch; globalThis.fetch = async () => new Response('{"error":"invalid_token"}', {status: 401})`)
	p.click("#call-me")
	p.shows("#story", "This session has ended")
	p.script(`globalThis.fetch = globalThis.sent`)
	p.click("#logout")
	p.says("Log in again to start another session.")
	assert.Equal(t, 401, p.server.me(t, token))
}
