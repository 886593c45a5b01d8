package browsertest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// addAccounts makes accounts by the name of user-00 and so on.
func (p *tab) addAccounts(number int) {
	p.t.Helper()
	token := p.text("#access-raw")
	for i := range number {
		body := strings.NewReader(fmt.Sprintf(`{"name": "user-%02d", "email": "user-%02d@example.org"}`, i, i))
		request, err := http.NewRequestWithContext(p.t.Context(), "POST", p.server.url+"/admin/accounts", body)
		require.NoError(p.t, err)
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		require.NoError(p.t, err)
		response.Body.Close()
		require.Equal(p.t, 201, response.StatusCode)
	}
}

func TestAdministratorFindsAccounts(t *testing.T) {
	p := open(t, start(t))
	p.logIn("page")
	p.addAccounts(24)
	listed := func(number int) {
		t.Helper()
		p.until(fmt.Sprintf(`document.querySelectorAll("#admin-list > li[data-account]").length === %d`, number))
	}
	p.click("#admin-search button")
	listed(10)
	p.click("#admin-more")
	listed(20)
	p.click("#admin-more")
	listed(25)
	p.until(`!document.getElementById("admin-more").checkVisibility()`)
	p.picture("admin-desktop-light")
	p.fill("#admin-prefix", "user-1")
	p.click("#admin-search button")
	listed(10)
	p.says("Found 10.")
	p.fill("#admin-prefix", "user-07@")
	p.click("#admin-search button")
	listed(1)
	p.fill("#admin-prefix", "nobody")
	p.click("#admin-search button")
	p.shows("#admin-list", "No account begins like that.")
}

func TestAdministratorChangesAccount(t *testing.T) {
	s := start(t)
	p, ada := open(t, s), open(t, s)
	p.logIn("page")
	p.click("#admin-create-box summary")
	p.fill("#admin-create-name", "root", "#admin-create-email", "ada@example.org", "#admin-create-password", newPassword, "#admin-create-groups", "writers editors")
	p.click("#admin-create button")
	p.shows("#admin-create-error", "The name is taken.")
	p.focused("admin-create-name")
	p.fill("#admin-create-name", "ada")
	p.click("#admin-create button")
	p.says("The account ada is made.")
	const item = `[data-account=ada] `
	p.shows(item, "editors")

	ada.logIn("page", "ada", newPassword)
	p.click(item + "summary")
	press := func(button, says string) {
		t.Helper()
		p.script(fmt.Sprintf(`[...document.querySelectorAll(%q)].find((b) => b.textContent === %q).click()`, item+"button", button))
		p.says(says)
	}
	press("End its sessions", "All sessions of ada have ended.")
	ada.click("#call-me")
	ada.shows("#answer-status", "401")
	press("Out of editors", "ada is no longer in the group editors.")
	p.fill(item+"[name=group]", "not a group")
	press("Add", "")
	p.shows(item+".error", "The value is refused.")
	p.fill(item+"[name=group]", "readers")
	press("Add", "ada is in the group readers.")
	p.shows(item+"summary", "readers")
	press("Forget failed logins", "The failed logins of ada are forgotten.")
	press("Disable", "ada is disabled")
	p.shows(item+"summary", "disabled")
	ada.click("#logout")
	ada.fill("#login-username", "ada", "#login-password", newPassword)
	ada.click("#login button")
	ada.shows("#login-error", "Unknown name or wrong password.")
	press("Enable", "ada can log in again.")
	ada.logIn("page", "ada", newPassword)

	p.script(fmt.Sprintf(`document.querySelector(%q).click()`, item+".danger"))
	p.focused("confirm-no")
	p.shows("#confirm-heading", "Remove ada?")
	p.click("#confirm-no")
	p.until(`!document.getElementById("confirm")`)
	require.True(t, p.isVisible(item))
	p.script(fmt.Sprintf(`document.querySelector(%q).click()`, item+".danger"))
	p.click("#confirm-yes")
	p.says("The account ada is removed.")
	assert.False(t, p.isVisible(item))
}

func TestLastAdministratorStays(t *testing.T) {
	p := open(t, start(t))
	p.logIn("page")
	p.click("[data-account=root] summary")
	p.script(`document.querySelector("[data-account=root] .danger").click()`)
	p.click("#confirm-yes")
	p.says("The last administrator must stay.")
	assert.True(t, p.isVisible("[data-account=root]"))
}

// TestAdministrationGoesAwayWithTheGroup while the page is open.
func TestAdministrationGoesAwayWithTheGroup(t *testing.T) {
	s := start(t)
	path := s.addAlice(t, `"admin"`)
	p := open(t, s)
	p.logIn("page", "alice", newPassword)
	require.True(t, p.isVisible("#admin"))
	s.call(t, s.login(t, "root", rootPassword, "test"), "DELETE", path+"/groups/admin", "")
	p.click("#admin-search button")
	p.says("Your account is no longer in the group admin")
	p.focused("account-heading")
	assert.False(t, p.isVisible("#admin") || p.isVisible("#nav-admin"))
	assert.Empty(t, p.text("#admin-list"))
}
