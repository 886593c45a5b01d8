package tokens_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

// transport answers requests without a network.
type transport func(*http.Request) *http.Response

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// TestRedirectToTheUsualPort: 443 is the port of https, whether or not the URL says so.
func TestRedirectToTheUsualPort(t *testing.T) {
	key := generate(t, tokens.EdDSA)
	ring, err := tokens.NewKeyring(key)
	require.NoError(t, err)
	set, err := ring.PublicJWKSet(epoch)
	require.NoError(t, err)
	for _, test := range []struct {
		from, to string
		followed bool
	}{
		{"https://h/a", "https://h:443/b", true}, {"https://h:443/a", "https://h/b", true}, {"https://h/a", "https://h:80/b", false},
		{"http://h/a", "http://h:80/b", true}, {"http://h:80/a", "http://h/b", true}, {"http://h/a", "http://h:443/b", false},
		{"https://h/a", "https://H/b", true}, {"http://h:80/a", "https://h/b", true}, {"https://h/a", "https://h:8443/b", false},
	} {
		client := &http.Client{Transport: transport(func(r *http.Request) *http.Response {
			recorder := httptest.NewRecorder()
			if r.URL.String() == test.from {
				http.Redirect(recorder, r, test.to, http.StatusFound)
			} else {
				recorder.Write(set)
			}
			return recorder.Result()
		})}
		remote := newRemote(t, nil, func(c *tokens.RemoteConfig) { c.URL, c.Client, c.Interval = test.from, client, time.Hour })
		_, err := remote.Verify(t.Context(), signAccess(t, key))
		if test.followed {
			assert.NoError(t, err, "%s to %s", test.from, test.to)
		} else {
			assert.ErrorIs(t, err, tokens.ErrKeysUnavailable, "%s to %s", test.from, test.to)
		}
	}
}

// TestRemoteVerifierRedirects: redirects to another server are not followed, because
// that server could sign tokens.
func TestRemoteVerifierRedirects(t *testing.T) {
	key := generate(t, tokens.EdDSA)
	ring, err := tokens.NewKeyring(key)
	require.NoError(t, err)
	set, err := ring.PublicJWKSet(epoch)
	require.NoError(t, err)
	serve := func(w http.ResponseWriter, r *http.Request) {
		switch to := r.URL.Query().Get("to"); {
		case r.URL.Path == "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case to != "":
			http.Redirect(w, r, to, http.StatusFound)
		default:
			w.Write(set)
		}
	}
	plain := httptest.NewServer(http.HandlerFunc(serve))
	defer plain.Close()
	other := httptest.NewServer(http.HandlerFunc(serve))
	defer other.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(serve))
	defer secure.Close()
	localhost := strings.Replace(plain.URL, "127.0.0.1", "localhost", 1)
	trusting := secure.Client()
	willing := *trusting
	willing.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
	unwilling := *trusting
	unwilling.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	redirecting := func(server *httptest.Server, to string) string { return server.URL + "/?to=" + url.QueryEscape(to) }

	times := func(redirects int) string {
		target := plain.URL
		for range redirects {
			target = redirecting(plain, target)
		}
		return target
	}

	for name, test := range map[string]struct {
		url      string
		client   *http.Client
		followed bool
	}{
		"none":                         {plain.URL, nil, true},
		"same place":                   {redirecting(plain, "/keys"), nil, true},
		"same place, https":            {redirecting(secure, "/keys"), trusting, true},
		"http to https":                {redirecting(plain, secure.URL), trusting, true},
		"https to http":                {redirecting(secure, plain.URL), trusting, false},
		"http to https to http":        {redirecting(plain, redirecting(secure, plain.URL)), trusting, false},
		"another host":                 {redirecting(plain, localhost), nil, false},
		"another host, client":         {redirecting(plain, localhost), trusting, false},
		"another port":                 {redirecting(plain, other.URL), nil, false},
		"for ever":                     {plain.URL + "/loop", nil, false},
		"nine times":                   {times(9), nil, true},
		"ten times":                    {times(10), nil, false},
		"https to http, willing":       {redirecting(secure, plain.URL), &willing, true},
		"another host, willing client": {redirecting(plain, localhost), &willing, true},
		"same place, unwilling":        {redirecting(plain, "/keys"), &unwilling, false},
	} {
		t.Run(name, func(t *testing.T) {
			remote := newRemote(t, nil, func(c *tokens.RemoteConfig) { c.URL, c.Client = test.url, test.client })
			_, err := remote.Verify(t.Context(), signAccess(t, key))
			if test.followed {
				assert.NoError(t, err)
			} else {
				assert.ErrorIs(t, err, tokens.ErrKeysUnavailable)
			}
		})
	}
	assert.Nil(t, trusting.CheckRedirect, "the client of the caller is not changed")
}
