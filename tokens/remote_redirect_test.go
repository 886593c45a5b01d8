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

// TestRemoteVerifierRedirects: who answers at another place could sign tokens.
func TestRemoteVerifierRedirects(t *testing.T) {
	key := generate(t, tokens.EdDSA)
	ring, err := tokens.NewKeyring(key)
	require.NoError(t, err)
	set, err := ring.PublicJWKs(epoch)
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
	via := func(server *httptest.Server, to string) string { return server.URL + "/?to=" + url.QueryEscape(to) }

	for name, test := range map[string]struct {
		url      string
		client   *http.Client
		followed bool
	}{
		"none":                         {plain.URL, nil, true},
		"same place":                   {via(plain, "/keys"), nil, true},
		"same place, https":            {via(secure, "/keys"), trusting, true},
		"http to https":                {via(plain, secure.URL), trusting, true},
		"https to http":                {via(secure, plain.URL), trusting, false},
		"http to https to http":        {via(plain, via(secure, plain.URL)), trusting, false},
		"another host":                 {via(plain, localhost), nil, false},
		"another host, client":         {via(plain, localhost), trusting, false},
		"another port":                 {via(plain, other.URL), nil, false},
		"for ever":                     {plain.URL + "/loop", nil, false},
		"https to http, willing":       {via(secure, plain.URL), &willing, true},
		"another host, willing client": {via(plain, localhost), &willing, true},
		"same place, unwilling":        {via(plain, "/keys"), &unwilling, false},
	} {
		t.Run(name, func(t *testing.T) {
			remote := newRemote(t, nil, func(c *tokens.RemoteConfig) { c.URL, c.Client = test.url, test.client })
			_, err := remote.Verify(t.Context(), sign1(t, key))
			if test.followed {
				assert.NoError(t, err)
			} else {
				assert.ErrorIs(t, err, tokens.ErrNoKeys)
			}
		})
	}
	assert.Nil(t, trusting.CheckRedirect, "the caller's client stays as it is")
}
