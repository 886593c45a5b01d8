package middleware_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
)

// TestMalformedPairMayBeASecondToken: a pair that cannot be read may be a second
// token. GOOD stands for a good token.
func TestMalformedPairMayBeASecondToken(t *testing.T) {
	var token string
	places := map[string]func(pairs string) *http.Request{
		"query": func(pairs string) *http.Request { return httptest.NewRequest("GET", "/?"+pairs, nil) },
		"form": func(pairs string) *http.Request {
			r := httptest.NewRequest("POST", "/", strings.NewReader(pairs))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			return r
		},
	}
	type test struct {
		pairs           string
		header          bool // a good token in the header as well
		status, whenOff int
	}
	tests := []test{
		{pairs: "access_token=GOOD", status: 200, whenOff: 401},
		{pairs: "access_token=GOOD&a=1", status: 200, whenOff: 401},
		{pairs: "access_token=GOOD&access_token=GOOD", status: 400, whenOff: 401},
		{pairs: "access_token=GOOD&access_token=%zz", status: 400, whenOff: 401},
		{pairs: "access_token=%zz&access_token=GOOD", status: 400, whenOff: 401},
		{pairs: "access_token=GOOD&a=%zz", status: 400, whenOff: 401},
		{pairs: "access_token=GOOD&%zz", status: 400, whenOff: 401},
		{pairs: "access_token=GOOD;a=1", status: 400, whenOff: 401},
		{pairs: "a=1;access_token=GOOD", status: 400, whenOff: 401},
		{pairs: "a;b=1&access_token=GOOD", status: 400, whenOff: 401},
		{pairs: "access_token=%zz", status: 400, whenOff: 401},
		{pairs: "access%5Ftoken=%zz", status: 400, whenOff: 401},
		{pairs: "access_token%zz=GOOD", status: 400, whenOff: 401},
		{pairs: strings.Repeat("a&", 20_000) + "access_token=GOOD", status: 400, whenOff: 401}, // more than url.ParseQuery reads
		{pairs: "a=%zz", status: 401, whenOff: 401},
		{pairs: "a;b=1", status: 401, whenOff: 401},
		{pairs: "my_access_token=1&a=%zz", status: 401, whenOff: 401},
		{pairs: "a=access_token&b=%zz", status: 401, whenOff: 401},
		{pairs: "a=%zz", header: true, status: 200, whenOff: 200},
		{pairs: "access_token=%zz", header: true, status: 400, whenOff: 200},
		{pairs: "a=1;access_token=GOOD", header: true, status: 400, whenOff: 200},
	}
	for _, on := range []bool{true, false} {
		auth, _, good := newAuth(t, func(c *middleware.Config) { c.Query, c.Form = on, on })
		token = good
		for place, request := range places {
			for _, test := range tests {
				pairs := strings.ReplaceAll(test.pairs, "GOOD", token)
				r := request(pairs)
				if test.header {
					r.Header.Set("Authorization", "Bearer "+token)
				}
				want := test.whenOff
				if on {
					want = test.status
				}
				recorder := httptest.NewRecorder()
				auth.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(recorder, r)
				assert.Equal(t, want, recorder.Code, "%s on %t: %.60s header %t", place, on, test.pairs, test.header)
				if want == 400 {
					assert.Contains(t, recorder.Header().Get("WWW-Authenticate"), `error="invalid_request"`)
				}
			}
		}
	}

	// Who lets requests in without credentials refuses bad ones.
	auth, _, _ := newAuth(t, func(c *middleware.Config) { c.Query = true })
	recorder := httptest.NewRecorder()
	auth.Optional(http.NotFoundHandler()).ServeHTTP(recorder, places["query"]("access_token=%zz"))
	assert.Equal(t, 400, recorder.Code)
}

// TestOnlyAWholeSchemeIsAnother: "Bearers" is the name of another scheme, and nobody has sent a
// token then. "Bearer," is none (RFC 9110 section 5.6.2).
func TestOnlyAWholeSchemeIsAnother(t *testing.T) {
	auth, _, _ := newAuth(t, nil)
	for c := byte('!'); c < 0x7f; c++ {
		_, err := auth.AuthenticateRequest(func() *http.Request {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Authorization", "Bearer"+string(c)+" abc")
			return r
		}())
		want := middleware.ErrNoCredentials
		if strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 { // the delimiters of a header
			want = middleware.ErrMalformedCredentials
		}
		assert.ErrorIs(t, err, want, "Bearer%c", c)
	}
}

func TestTokenComesFromOnePlaceOnly(t *testing.T) {
	k := newKit(t, middlewaretest.Config{Middleware: func(c *middleware.Config) {
		c.Cookie, c.Form, c.Query = "session", true, true
	}})
	token, send := k.token, k.serve(t)
	const sameOrigin, crossSite = "same-origin", "cross-site"
	form := "access_token=" + token + "&a=1"
	for name, test := range map[string]struct {
		method, query, body, site string
		headers                   []string
		status                    int
		private                   bool
	}{
		"cookie":                       {headers: []string{"Cookie", "session=" + token}, status: 200, private: true},
		"cookie cleared":               {headers: []string{"Cookie", "session="}, status: 401},
		"cookie twice":                 {headers: []string{"Cookie", "session=" + token + "; session=" + token}, status: 400},
		"cookie malformed":             {headers: []string{"Cookie", "session=a,b"}, status: 400},
		"cookie bad":                   {headers: []string{"Cookie", "session=abc"}, status: 401},
		"cookie, unsafe, same origin":  {method: "POST", site: sameOrigin, headers: []string{"Cookie", "session=" + token}, status: 200, private: true},
		"cookie, unsafe, cross site":   {method: "POST", site: crossSite, headers: []string{"Cookie", "session=" + token}, status: 403},
		"cookie, safe, cross site":     {site: crossSite, headers: []string{"Cookie", "session=" + token}, status: 200, private: true},
		"header, unsafe, cross site":   {method: "POST", site: crossSite, headers: []string{"Authorization", "Bearer " + token}, status: 200},
		"query":                        {query: "?access_token=" + token, status: 200, private: true},
		"query twice":                  {query: "?access_token=" + token + "&access_token=" + token, status: 400},
		"query empty":                  {query: "?access_token=", status: 400},
		"form":                         {method: "POST", body: form, headers: []string{"Content-Type", formType}, status: 200},
		"form, PUT":                    {method: "PUT", body: form, headers: []string{"Content-Type", formType + ";charset=utf-8"}, status: 200},
		"form, GET":                    {method: "GET", body: form, headers: []string{"Content-Type", formType}, status: 401},
		"form, HEAD":                   {method: "HEAD", body: form, headers: []string{"Content-Type", formType}, status: 401},
		"form twice":                   {method: "POST", body: form + "&access_token=x", headers: []string{"Content-Type", formType}, status: 400},
		"form malformed":               {method: "POST", body: form + "&%zz", headers: []string{"Content-Type", formType}, status: 400},
		"form of another type":         {method: "POST", body: form, headers: []string{"Content-Type", "text/plain"}, status: 401},
		"form of 64 KiB":               {method: "POST", body: form + strings.Repeat("x", 64<<10-len(form)), headers: []string{"Content-Type", formType}, status: 200},
		"form of a byte more":          {method: "POST", body: form + strings.Repeat("x", 64<<10-len(form)+1), headers: []string{"Content-Type", formType}, status: 401},
		"header beside a large form":   {method: "POST", body: strings.Repeat("x", 1<<20), headers: []string{"Content-Type", formType, "Authorization", "Bearer " + token}, status: 200},
		"header and cookie":            {headers: []string{"Cookie", "session=" + token, "Authorization", "Bearer " + token}, status: 400},
		"header and query":             {query: "?access_token=" + token, headers: []string{"Authorization", "Bearer " + token}, status: 400},
		"form and query":               {method: "POST", query: "?access_token=" + token, body: form, headers: []string{"Content-Type", formType}, status: 400},
		"another scheme and a cookie":  {headers: []string{"Cookie", "session=" + token, "Authorization", "Basic YTpi"}, status: 200, private: true},
		"nothing":                      {status: 401},
		"form without a token":         {method: "POST", body: "a=1", headers: []string{"Content-Type", formType}, status: 401},
		"malformed form and no token":  {method: "POST", body: "a=%zz", headers: []string{"Content-Type", formType}, status: 401},
		"refused cookie stays private": {headers: []string{"Cookie", "session=abc"}, status: 401},
	} {
		t.Run(name, func(t *testing.T) {
			method := "GET"
			if test.method != "" {
				method = test.method
			}
			headers := test.headers
			if test.site != "" {
				headers = append(headers, "Sec-Fetch-Site", test.site)
			}
			got := send(method, "/protected"+test.query, test.body, headers...)
			require.Equal(t, test.status, got.status, got.body)
			cache := got.header.Get("Cache-Control")
			if test.status != 200 {
				assert.Contains(t, cache, "private")
				return
			}
			assert.Equal(t, test.private, cache == "private")
			assert.Equal(t, "true "+k.account.ID.Hex()+" "+test.body, got.body, "the handler finds the body unread")
		})
	}
}

// brokenBody is a body that breaks off. It knows whether it was closed.
type brokenBody struct {
	io.Reader
	closed bool
}

var errBroken = errors.New("the line broke")

func (b *brokenBody) Read(p []byte) (int, error) {
	if n, err := b.Reader.Read(p); err == nil {
		return n, nil
	}
	return 0, errBroken
}

func (b *brokenBody) Close() error {
	b.closed = true
	return nil
}

// TestBodyThatBreaksOffIsMalformed: nobody knows whether a second token would have come. The log
// gets the cause, and the client does not.
func TestBodyThatBreaksOffIsMalformed(t *testing.T) {
	auth, _, token := newAuth(t, func(c *middleware.Config) { c.Form = true })
	body := &brokenBody{Reader: strings.NewReader("access_token=" + token)}
	r := httptest.NewRequest("POST", "/", nil)
	r.Header.Set("Content-Type", formType)
	r.Body = body
	_, err := auth.AuthenticateRequest(r)
	assert.ErrorIs(t, err, middleware.ErrMalformedCredentials)
	assert.ErrorIs(t, err, errBroken)
	recorder := httptest.NewRecorder()
	auth.WriteError(recorder, r, err)
	assert.Equal(t, 400, recorder.Code)
	assert.Contains(t, recorder.Header().Get("WWW-Authenticate"), `error="invalid_request"`)
	assert.NotContains(t, recorder.Header().Get("WWW-Authenticate")+recorder.Body.String(), "broke")
}

// TestFormIsLeftAsItWas: a body that somebody outside has read already, one that somebody reads
// later, and none at all.
func TestFormIsLeftAsItWas(t *testing.T) {
	auth, account, token := newAuth(t, func(c *middleware.Config) { c.Form = true })
	form := url.Values{"access_token": {token}}.Encode()
	post := func(query, body string) *http.Request {
		r := httptest.NewRequest("POST", "/"+query, strings.NewReader(body))
		r.Header.Set("Content-Type", formType)
		return r
	}
	parsed := post("", form)
	require.NoError(t, parsed.ParseForm())
	caller, err := auth.AuthenticateRequest(parsed)
	require.NoError(t, err)
	assert.Equal(t, account.ID, caller.AccountID)

	parsed = post("?"+form, "a=1")
	require.NoError(t, parsed.ParseForm())
	_, err = auth.AuthenticateRequest(parsed)
	assert.ErrorIs(t, err, middleware.ErrNoCredentials, "the query is no form, whoever has read it")

	unread := post("", form)
	body := &brokenBody{Reader: strings.NewReader("")}
	unread.Body = struct {
		io.Reader
		io.Closer
	}{unread.Body, body}
	_, err = auth.AuthenticateRequest(unread)
	require.NoError(t, err)
	require.NoError(t, unread.Body.Close())
	assert.True(t, body.closed, "it is the body of somebody outside")

	none, err := http.NewRequestWithContext(t.Context(), "POST", "/", nil) // as code makes it that calls a handler
	require.NoError(t, err)
	none.Header.Set("Content-Type", formType)
	_, err = auth.AuthenticateRequest(none)
	assert.ErrorIs(t, err, middleware.ErrNoCredentials)
}

// TestTrustedOriginMayUseTheCookie: Config.CrossOrigin decides.
func TestTrustedOriginMayUseTheCookie(t *testing.T) {
	const app = "https://app.example.org"
	protection := http.NewCrossOriginProtection()
	require.NoError(t, protection.AddTrustedOrigin(app))
	auth, _, token := newAuth(t, func(c *middleware.Config) { c.Cookie, c.CrossOrigin = "session", protection })
	for origin, want := range map[string]error{app: nil, "https://evil.example.org": middleware.ErrCrossOrigin} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("Cookie", "session="+token)
		r.Header.Set("Origin", origin)
		_, err := auth.AuthenticateRequest(r)
		assert.ErrorIs(t, err, want, origin)
	}
}
