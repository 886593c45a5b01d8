package browsertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestKeyboardAlone logs in, refreshes and logs out without a pointer. The focus can always be
// seen.
func TestKeyboardAlone(t *testing.T) {
	p := open(t, start(t))
	p.press(tabKey)
	assert.Equal(t, "Skip to the content", value[string](p, `document.activeElement.textContent`))
	p.press(enterKey)
	p.focused("main")
	tabTo := func(id string) {
		t.Helper()
		for range 40 {
			p.press(tabKey)
			assert.NotEqual(t, "none", value[string](p, `getComputedStyle(document.activeElement).outlineStyle`), "the focus is seen")
			if value[string](p, `document.activeElement.id`) == id {
				return
			}
		}
		require.Fail(t, "the keyboard does not get there", id)
	}
	tabTo("login-username")
	p.press("root")
	tabTo("login-password")
	p.press(rootPassword, enterKey)
	p.focused("tokens-heading")
	tabTo("refresh")
	p.press(" ")
	p.says("generation 2")
	p.focused("refresh")
	p.script(`document.getElementById("main").focus()`)
	for value[string](p, `document.activeElement.id`) != "logout" {
		p.run(backwards)
	}
	p.press(enterKey)
	p.says("You are logged out")
	p.focused("login-heading")
}

// TestAxeFindsNothing: axe-core knows the rules of WCAG 2.2 that a program can check, contrast
// and names of controls among them. It looks at each state of the page.
func TestAxeFindsNothing(t *testing.T) {
	modules := os.Getenv("OAUTHSV_TEST_NODE_MODULES")
	if modules == "" {
		const howTo = "to run this test, install the npm package axe-core and set OAUTHSV_TEST_NODE_MODULES to the folder node_modules"
		if os.Getenv("CI") != "" {
			t.Fatal(howTo)
		}
		t.Skip(howTo)
	}
	axe, err := os.ReadFile(filepath.Join(modules, "axe-core", "axe.min.js"))
	require.NoError(t, err)
	p := open(t, start(t, "-mail-to-log", "-reuse-interval", "10s"))
	p.run(command(page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true})) // axe makes markup of text
	p.visit()
	p.script(string(axe))
	check := func(state string) {
		t.Helper()
		p.script(`for (const details of document.querySelectorAll('details')) details.open = true`)
		for _, scheme := range []string{"light", "dark"} {
			p.scheme(scheme)
			found := value[[]string](p, `axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}).then(({violations}) =>
				violations.flatMap(({id, help, nodes}) => nodes.map(({html, failureSummary}) => [id, help, html, failureSummary].join(': '))))`)
			assert.Empty(t, found, "%s, %s", state, scheme)
		}
	}
	check("logged out")
	p.fill("#login-username", "root", "#login-password", "wrong")
	p.click("#login button")
	p.shows("#login-error", "wrong password")
	check("wrong password")
	p.logIn("page")
	p.click("#refresh")
	p.says("generation 2")
	p.click("#call-me")
	p.says("answered with 200")
	check("logged in")
	p.click("#sessions-all")
	p.focused("confirm-no")
	check("dialog")
	p.click("#confirm-no")
	p.click("#logout")
	p.logIn("cookie")
	check("cookie")
}

// TestTargetsAreLargeEnough for a finger.
func TestTargetsAreLargeEnough(t *testing.T) {
	p := open(t, start(t, "-mail-to-log"))
	check := func() {
		t.Helper()
		p.script(`for (const details of document.querySelectorAll('details')) details.open = true`)
		small := value[[]string](p, `[...document.querySelectorAll('button, a:not(.skip), input:not([type=radio]), summary, .choice label')]
			.filter((e) => e.checkVisibility()).map((e) => [e, e.getBoundingClientRect()])
			.filter(([, box]) => box.height < 43.9 || box.width < 43.9).map(([e, box]) => e.outerHTML + box.width + 'x' + box.height)`)
		assert.Empty(t, small)
	}
	check()
	p.logIn("page")
	check()
}

// TestHeadingsAreInOrder: no level is left out, and every control has a label.
func TestHeadingsAreInOrder(t *testing.T) {
	p := open(t, start(t, "-mail-to-log"))
	p.logIn("page")
	levels := value[[]string](p, `[...document.querySelectorAll('h1, h2, h3, h4')].filter((h) => h.checkVisibility()).map((h) => h.tagName)`)
	require.NotEmpty(t, levels)
	last := "H0"
	for _, level := range levels {
		assert.LessOrEqual(t, level, "H"+string(last[1]+1), fmt.Sprint(levels))
		last = level
	}
	assert.Equal(t, 1, strings.Count(strings.Join(levels, " "), "H1"))
	assert.Empty(t, value[[]string](p, `[...document.querySelectorAll('input')].filter((i) => !i.labels.length).map((i) => i.outerHTML)`))
}
