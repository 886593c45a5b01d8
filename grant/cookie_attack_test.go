package grant_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
)

// TestAttacksOnRefreshCookie sends what an attacker can make a browser send, or can send
// with tokens of sessions of his own.
func TestAttacksOnRefreshCookie(t *testing.T) {
	const (
		from    = "Sec-Fetch-Site"
		untouch = "untouched"
		cleared = "cleared"
	)
	for kind, change := range browserConfigs(t, grant.RefreshCookie{}) {
		b := newBrowser(t, nil, change)
		b.Account("mallory")
		setBy := func(form string) string {
			got := b.token(form)
			require.Equal(t, 200, got.status, got.body)
			return setCookie(t, got).Value
		}
		nobody := map[string]string{"registered": "invalid_client", "unregistered": "invalid_request"}[kind]
		nobodyGrant := map[string]string{"registered": "invalid_client", "unregistered": "invalid_grant"}[kind]

		victim := setBy(passwordForm + appID)
		mallory := setBy(loginForm("mallory") + appID)
		ofCLI := b.mustToken(loginForm("mallory") + cliID)
		require.NotEmpty(t, ofCLI.RefreshToken)
		own := cookieName + "=" + victim

		for name, test := range map[string]struct {
			path, form, cookie string
			headers            []string
			status             int
			code, after        string
		}{
			"refresh from another site":        {"/token", refreshNow, own, []string{from, "cross-site"}, 403, "cross_origin_request", untouch},
			"refresh from another host":        {"/token", refreshNow, own, []string{from, "same-site"}, 403, "cross_origin_request", untouch},
			"refresh, an old browser":          {"/token", refreshNow, own, []string{"Origin", "https://evil.example"}, 403, "cross_origin_request", untouch},
			"refresh from a sandbox":           {"/token", refreshNow, own, []string{"Origin", "null"}, 403, "cross_origin_request", untouch},
			"login from another site":          {"/token", loginForm("mallory") + appID, own, []string{from, "cross-site"}, 403, "cross_origin_request", untouch},
			"logout from another site":         {"/revoke", "client_id=app", own, []string{from, "cross-site"}, 403, "cross_origin_request", untouch},
			"as another client":                {"/token", "grant_type=refresh_token" + cliID, own, nil, 400, "invalid_request", untouch},
			"as no client":                     {"/token", "grant_type=refresh_token", own, nil, 0, nobody, untouch},
			"as a client of another case":      {"/token", "grant_type=refresh_token&client_id=APP", own, nil, 0, nobody, untouch},
			"logout as another client":         {"/revoke", "client_id=cli", own, nil, 400, "invalid_request", untouch},
			"token in the body":                {"/token", refreshNow + "&refresh_token=" + mallory, "", nil, 400, "invalid_request", untouch},
			"token in the body and the cookie": {"/token", refreshNow + "&refresh_token=" + mallory, own, nil, 400, "invalid_request", untouch},
			"the same token in both":           {"/token", refreshNow + "&refresh_token=" + victim, own, nil, 400, "invalid_request", untouch},
			"token in the query":               {"/token?refresh_token=" + mallory, refreshNow, own, nil, 400, "invalid_request", untouch},
			"in the body, as another client":   {"/token", refreshForm(victim) + cliID, own, nil, 400, "invalid_grant", untouch},
			"in the body, as no client":        {"/token", refreshForm(victim), own, nil, 0, nobodyGrant, untouch},
			"in the body, as no client, from another site": {
				"/token", refreshForm(mallory), "", []string{from, "cross-site"}, 0, nobodyGrant, untouch,
			},
			"planted beside the own":        {"/token", refreshNow, cookieName + "=" + mallory + "; " + own, nil, 400, "invalid_request", untouch},
			"the own twice":                 {"/token", refreshNow, own + "; " + own, nil, 400, "invalid_request", untouch},
			"planted under another name":    {"/token", refreshNow, "refresh_token=" + mallory, nil, 400, "invalid_grant", cleared},
			"name of another case":          {"/token", refreshNow, strings.ToLower(own[:len(cookieName)]) + "=" + mallory, nil, 400, "invalid_grant", cleared},
			"empty":                         {"/token", refreshNow, cookieName + "=", nil, 400, "invalid_grant", cleared},
			"garbage":                       {"/token", refreshNow, cookieName + "=a.b.c", nil, 400, "invalid_grant", cleared},
			"bytes that no cookie may have": {"/token", refreshNow, cookieName + "=a\\b", nil, 400, "invalid_grant", cleared},
			"too large":                     {"/token", refreshNow, cookieName + "=" + strings.Repeat("x", 100<<10), nil, 400, "invalid_grant", cleared},
			"forged":                        {"/token", refreshNow, own[:len(own)-6] + "AAAAAA", nil, 400, "invalid_grant", cleared},
			"access token":                  {"/token", refreshNow, cookieName + "=" + ofCLI.AccessToken, nil, 400, "invalid_grant", cleared},
			"token of another client":       {"/token", refreshNow, cookieName + "=" + ofCLI.RefreshToken, nil, 400, "invalid_grant", cleared},
			"wrong password":                {"/token", "grant_type=password&username=ada&password=x" + appID, own, nil, 400, "invalid_grant", untouch},
		} {
			t.Run(kind+", "+name, func(t *testing.T) {
				headers := test.headers
				if test.cookie != "" {
					headers = append(headers, "Cookie", test.cookie)
				}
				got := b.post(test.path, test.form, headers...)
				if test.status == 0 {
					test.status = 400
					if test.code == "invalid_client" {
						test.status = 401
					}
				}
				assert.Equal(t, test.status, got.status, got.body)
				assert.True(t, strings.HasPrefix(got.body, `{"error":"`+test.code+`"`), got.body)
				assertTokenHeaders(t, got)
				assertNoRefreshToken(t, got)
				if test.after == cleared {
					assertCleared(t, got)
				} else {
					assert.Empty(t, got.header.Values("Set-Cookie"))
				}
				assert.Equal(t, 200, b.token(refreshNow, "Cookie", own).status, "the user is still logged in")
			})
		}
	}
}

// TestTrustedOriginUsesRefreshCookie is an app on another host of the same site.
func TestTrustedOriginUsesRefreshCookie(t *testing.T) {
	protection := http.NewCrossOriginProtection()
	require.NoError(t, protection.AddTrustedOrigin("https://app.example.org"))
	for kind, change := range browserConfigs(t, grant.RefreshCookie{CrossOrigin: protection}) {
		t.Run(kind, func(t *testing.T) {
			b := newBrowser(t, nil, change)
			for origin, status := range map[string]int{"https://app.example.org": 200, "http://app.example.org": 403, "https://other.example.org": 403} {
				headers := []string{"Sec-Fetch-Site", "same-site", "Origin", origin}
				assert.Equal(t, status, b.fetch("POST", "/token", passwordForm+appID, headers...).status, origin)
				b.logInPage()
				assert.Equal(t, status, b.fetch("POST", "/token", refreshNow, headers...).status, origin)
				assert.Equal(t, status, b.fetch("POST", "/revoke", "client_id=app", headers...).status, origin)
			}
		})
	}
}

func TestLogoutEndsSessionOfCookie(t *testing.T) {
	for kind, change := range browserConfigs(t, grant.RefreshCookie{}) {
		registered := kind == "registered"
		b := newBrowser(t, nil, change)
		for name, test := range map[string]struct {
			form    string
			cookies func(own, second, cli string) []string
			body    func(access, cli string) string
			status  int
			// what lives on
			own, second, cli bool
		}{
			"no cookie":         {status: 200, own: true, second: true, cli: true},
			"cookie":            {cookies: func(own, _, _ string) []string { return []string{own} }, status: 200, second: true, cli: true},
			"garbage":           {cookies: func(_, _, _ string) []string { return []string{"x"} }, status: 200, own: true, second: true, cli: true},
			"planted one too":   {cookies: func(own, second, _ string) []string { return []string{second, own} }, status: 200, cli: true},
			"of another client": {cookies: func(_, _, cli string) []string { return []string{cli} }, status: 200, own: true, second: true, cli: registered},
			"with its access token": {
				cookies: func(own, _, _ string) []string { return []string{own} }, body: func(access, _ string) string { return access },
				status: 200, second: true, cli: true,
			},
			"with garbage in the body": {
				cookies: func(own, _, _ string) []string { return []string{own} }, body: func(_, _ string) string { return "x" },
				status: 200, second: true, cli: true,
			},
			"with a token of another client in the body": {
				cookies: func(own, _, _ string) []string { return []string{own} }, body: func(_, cli string) string { return cli },
				status: map[bool]int{true: 400, false: 200}[registered], second: true, cli: registered,
			},
			"access token alone": {body: func(access, _ string) string { return access }, status: 200, second: true, cli: true},
		} {
			t.Run(kind+", "+name, func(t *testing.T) {
				first := b.token(passwordForm + appID)
				own, second := setCookie(t, first).Value, setCookie(t, b.token(passwordForm+appID)).Value
				cli := b.mustToken(passwordForm + cliID).RefreshToken
				form := "client_id=app"
				if test.body != nil {
					form += "&token=" + test.body(first.json(t)["access_token"].(string), cli)
				}
				var headers []string
				if test.cookies != nil {
					headers = []string{"Cookie", cookieName + "=" + strings.Join(test.cookies(own, second, cli), "; "+cookieName+"=")}
				}
				b.TakeEvents()
				got := b.post("/revoke", form, headers...)
				assert.Equal(t, test.status, got.status, got.body)
				assertCleared(t, got)
				alive := func(status int) bool { return status == 200 }
				assert.Equal(t, test.own, alive(b.token(refreshNow, "Cookie", cookieName+"="+own).status), "the own session")
				assert.Equal(t, test.second, alive(b.token(refreshNow, "Cookie", cookieName+"="+second).status), "the second session")
				assert.Equal(t, test.cli, alive(b.token(refreshForm(cli)+cliID).status), "the session of another client")
			})
		}
	}
}
