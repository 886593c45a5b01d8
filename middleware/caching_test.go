package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/middleware"
)

// TestPrivateNeverWeakens: what an outer middleware says of caches stays, and the
// answer to a cookie or query token is private whatever it says.
func TestPrivateNeverWeakens(t *testing.T) {
	auth, _, token := newAuth(t, func(c *middleware.Config) { c.Cookie, c.Query = "session", true })
	byCookie := httptest.NewRequest("GET", "/", nil)
	byCookie.AddCookie(&http.Cookie{Name: "session", Value: token})
	byQuery := httptest.NewRequest("GET", "/?access_token="+token, nil)
	for name, test := range map[string]struct{ outer, want []string }{
		"nothing":              {nil, []string{"private"}},
		"no-store":             {[]string{"no-store"}, []string{"no-store"}},
		"no-store in capitals": {[]string{"No-Store"}, []string{"No-Store"}},
		"no-store among more":  {[]string{"no-cache,no-store , max-age=0"}, []string{"no-cache,no-store , max-age=0"}},
		"no-store on a line":   {[]string{"no-cache", "no-store"}, []string{"no-cache", "no-store"}},
		"private":              {[]string{"max-age=60, private"}, []string{"max-age=60, private"}},
		"public":               {[]string{"public, max-age=60"}, []string{"public, max-age=60", "private"}},
		"no-cache":             {[]string{"no-cache"}, []string{"no-cache", "private"}},
		"private for a field":  {[]string{`private="set-cookie"`}, []string{`private="set-cookie"`, "private"}},
		"private in quotes":    {[]string{`no-cache="a, private, b"`}, []string{`no-cache="a, private, b"`, "private"}},
		"a longer word":        {[]string{"x-private, no-stored"}, []string{"x-private, no-stored", "private"}},
		"empty":                {[]string{""}, []string{"", "private"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []*http.Request{byCookie, byQuery} {
				ran := false
				recorder := httptest.NewRecorder()
				recorder.Header()["Cache-Control"] = test.outer
				auth.Require(auth.RequireGroup("editors")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true }))).ServeHTTP(recorder, r)
				require.True(t, ran)
				assert.Equal(t, test.want, recorder.Header()["Cache-Control"])
			}
			recorder := httptest.NewRecorder()
			recorder.Header()["Cache-Control"] = test.outer
			auth.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(recorder, request(token))
			assert.Equal(t, test.outer, recorder.Header()["Cache-Control"], "caches know of the header by themselves")
		})
	}
}
