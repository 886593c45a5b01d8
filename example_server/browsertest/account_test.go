package browsertest

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

const (
	newPassword   = "a lantern over seven hills"
	otherPassword = "an umbrella under nine moons"
)

func TestRegistrationByMail(t *testing.T) {
	s := start(t, "-mail-to-log")
	p := open(t, s)
	p.fill("#register-name", "ada", "#register-email", "ada@example.org")
	p.click("#register button")
	p.focused("register-confirm-code")
	p.says("A code is on its way")
	p.fill("#register-confirm-code", "WRONG-CODE", "#register-confirm-password", newPassword)
	p.click("#register-confirm button")
	p.shows("#register-confirm-error", "The code is wrong, used or expired.")
	p.focused("register-confirm-code")
	p.fill("#register-confirm-code", s.code(t, "ada@example.org"), "#register-confirm-password", "short")
	p.click("#register-confirm button")
	p.shows("#register-confirm-error", "The value is refused.")
	p.focused("register-confirm-password")
	p.fill("#register-confirm-password", newPassword)
	p.click("#register-confirm button")
	p.says("Your account is made.")
	p.focused("login-username")
	p.logIn("page", "ada", newPassword)
	assert.False(t, p.isVisible("#admin"))
	p.click("#call-admin")
	p.shows("#answer-status", "403")
}

func TestRegistrationAsksForAnotherName(t *testing.T) {
	s := start(t, "-mail-to-log")
	p := open(t, s)
	p.fill("#register-name", "root", "#register-email", "ada@example.org")
	p.click("#register button")
	p.focused("register-confirm-code")
	p.fill("#register-confirm-code", s.code(t, "ada@example.org"), "#register-confirm-password", newPassword)
	p.click("#register-confirm button")
	p.shows("#register-confirm-error", "The name is taken. Choose another one.")
	p.focused("register-confirm-name")
	p.fill("#register-confirm-password", newPassword, "#register-confirm-name", "ada")
	p.click("#register-confirm button")
	p.says("Your account is made.")
}

func TestPasswordResetByMail(t *testing.T) {
	s := start(t, "-mail-to-log")
	p := open(t, s)
	p.logIn("page")
	token := p.text("#access-raw")
	p.visit()
	p.fill("#reset-email", "root@localhost")
	p.click("#reset button")
	p.focused("reset-confirm-code")
	p.fill("#reset-confirm-code", s.code(t, "root@localhost"), "#reset-confirm-password", newPassword)
	p.click("#reset-confirm button")
	p.says("The new password is set")
	assert.Equal(t, 401, s.me(t, token))
	p.logIn("page", "root@localhost", newPassword)
}

func TestWithoutMailThePageSaysSo(t *testing.T) {
	p := open(t, start(t))
	for _, id := range []string{"register", "reset"} {
		p.shows("[aria-labelledby="+id+"-heading]", "This server sends no mail")
		assert.False(t, p.isVisible("#"+id))
	}
	p.logIn("page")
	p.click("#email-box summary")
	p.shows("#email-box", "This server sends no mail")
}

func TestRegistrationCanBeTurnedOff(t *testing.T) {
	p := open(t, start(t, "-mail-to-log", "-registration", "off"))
	p.shows("[aria-labelledby=register-heading]", "Registration is turned off on this server")
	assert.True(t, p.isVisible("#reset"))
}

func TestNewPasswordStartsNewSession(t *testing.T) {
	for _, keep := range []string{"page", "cookie"} {
		t.Run(keep, func(t *testing.T) {
			p := open(t, start(t))
			p.logIn(keep)
			old := p.text("#access-raw")
			p.click("details:has(#password) summary")
			p.fill("#password-current", "wrong", "#password-new", newPassword)
			p.click("#password button")
			p.shows("#password-error", "The current password is wrong.")
			p.focused("password-current")
			p.fill("#password-current", rootPassword, "#password-new", "short")
			p.click("#password button")
			p.focused("password-new")
			p.fill("#password-new", newPassword)
			p.click("#password button")
			p.says("The password is changed.")
			p.focused("tokens-heading")
			assert.Equal(t, "1", p.text("#generation"))
			assert.Equal(t, 401, p.server.me(t, old))
			p.click("#refresh")
			p.says("generation 2")
			p.click("#call-me")
			p.says("answered with 200")
		})
	}
}

func TestChangesOfTheAccount(t *testing.T) {
	s := start(t, "-mail-to-log")
	p := open(t, s)
	p.logIn("page")
	p.click("details:has(#profile) summary")
	p.fill("#profile-name", "no spaces please")
	p.click("#profile button")
	p.focused("profile-name")
	p.fill("#profile-name", "ruth", "#profile-phone", "+1 234")
	p.click("#profile button")
	p.says("Saved.")
	p.shows("#account-facts", "+1 234")
	assert.Equal(t, "ruth", p.text("#who-name"))

	p.click("#email-box summary")
	p.fill("#email-email", "ruth@example.org", "#email-password", rootPassword)
	p.click("#email button")
	p.focused("email-confirm-code")
	p.fill("#email-confirm-code", s.code(t, "ruth@example.org"))
	p.click("#email-confirm button")
	p.says("The e-mail is changed.")
	p.shows("#account-facts", "ruth@example.org")
}
