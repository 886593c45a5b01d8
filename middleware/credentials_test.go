package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// TestMalformedPairs: a pair that cannot be read may be a second token. GOOD stands
// for a good token.
func TestMalformedPairs(t *testing.T) {
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
		auth, _, good := newAuth(t, memstore.New(), func(c *middleware.Config) { c.Query, c.Form = on, on })
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
	auth, _, _ := newAuth(t, memstore.New(), func(c *middleware.Config) { c.Query = true })
	recorder := httptest.NewRecorder()
	auth.Optional(http.NotFoundHandler()).ServeHTTP(recorder, places["query"]("access_token=%zz"))
	assert.Equal(t, 400, recorder.Code)
}
