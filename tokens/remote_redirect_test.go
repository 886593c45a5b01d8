package tokens_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

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
