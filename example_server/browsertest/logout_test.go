package browsertest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// delay holds the answers to requests of a path back, until the script calls release().
func (p *tab) delay(path string) {
	p.t.Helper()
	p.script(fmt.Sprintf(`const fetched = globalThis.fetch, gate = new Promise((done) => { globalThis.release = done })
		globalThis.fetch = async (...request) => {
			const answer = await fetched(...request)
			if (request[0] === %q) await gate
			return answer
		}`, path))
}

// loggedOut looks at the page a while after an answer that was held back.
func (p *tab) staysLoggedOut() {
	p.t.Helper()
	p.script(`release()`)
	time.Sleep(300 * time.Millisecond)
	assert.Contains(p.t, p.text("#status"), "You are logged out")
	assert.True(p.t, p.isVisible("#login"))
	assert.Empty(p.t, p.text("#who-name")+p.text("#account-facts")+p.text("#access-token")+p.text("#journal"))
}

// TestLateAnswerDoesNotUndoLogout: neither a refresh, nor the account that a login asks for.
func TestLateAnswerDoesNotUndoLogout(t *testing.T) {
	p := open(t, start(t))
	p.logIn("page")
	p.delay("/token")
	p.click("#refresh")
	p.click("#logout")
	p.says("You are logged out")
	p.staysLoggedOut()

	p.visit()
	p.delay("/me")
	p.fill("#login-username", "root", "#login-password", rootPassword)
	p.click("#login button")
	p.click("#logout")
	p.says("You are logged out")
	p.staysLoggedOut()
	p.logIn("page")
	assert.Equal(t, "root", p.text("#who-name"))
}

func TestNothingOfTheAccountStaysAfterLogout(t *testing.T) {
	p := open(t, start(t))
	p.logIn("page")
	access, refresh := p.text("#access-raw"), p.text("#refresh-raw")
	p.click("#call-me")
	p.says("/me answered")
	p.fill("#admin-prefix", "secret-prefix")
	p.click("#admin-search button")
	p.says("Found 0.")
	p.click("#admin-create-box summary")
	p.fill("#admin-create-name", "no blanks please", "#admin-create-password", newPassword)
	p.click("#admin-create button")
	p.shows("#admin-create-error", "The value is refused.")
	p.click("#logout")
	p.says("You are logged out")
	text := value[string](p, `document.documentElement.textContent`)
	for _, secret := range []string{access, refresh, "root@localhost", "secret-prefix"} {
		assert.NotContains(t, text, secret)
	}
	assert.Empty(t, p.text("#answer-body"))
	assert.False(t, p.isVisible("#journal-box"))
	assert.Empty(t, value[[]string](p, `[...document.querySelectorAll("#inside input")].filter((input) => input.value).map((input) => input.id)`))
	assert.Empty(t, p.text("#inside .error"))
}
