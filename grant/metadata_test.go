package grant_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/tokens"
)

// TestMetadataFollowsTheConfiguration: where the endpoints are, and what they take,
// follows from the server.
func TestMetadataFollowsTheConfiguration(t *testing.T) {
	clients, err := grant.NewClients(grant.Client{ID: "app"})
	require.NoError(t, err)
	const basic, post, none = "client_secret_basic", "client_secret_post", "none"
	for name, test := range map[string]struct {
		issuer        string
		path          string
		change        func(*grant.Config)
		methods       []any
		introspection []any
	}{
		"as it is":          {issuerURL, "", nil, []any{none}, []any{"Bearer"}},
		"slash at the end":  {issuerURL + "/", "", nil, []any{none}, []any{"Bearer"}},
		"path":              {issuerURL + "/tenant/a", "/tenant/a", nil, []any{none}, []any{"Bearer"}},
		"path with a slash": {issuerURL + "/tenant/a/", "/tenant/a", nil, []any{none}, []any{"Bearer"}},
		"clients":           {issuerURL, "", func(c *grant.Config) { c.Clients = clients }, []any{basic, post, none}, []any{basic, post, "Bearer"}},
		"clients alone":     {issuerURL, "", func(c *grant.Config) { c.Clients, c.MayIntrospect = clients, nil }, []any{basic, post, none}, []any{basic, post}},
		"no introspection":  {issuerURL, "", func(c *grant.Config) { c.MayIntrospect = nil }, []any{none}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, middlewaretest.Config{Issuer: test.issuer, Grant: test.change})
			want := map[string]any{
				"issuer": test.issuer, "token_endpoint": issuerURL + test.path + "/token", "revocation_endpoint": issuerURL + test.path + "/revoke",
				"grant_types_supported":                      []any{"password", "refresh_token"},
				"response_types_supported":                   []any{},
				"token_endpoint_auth_methods_supported":      test.methods,
				"revocation_endpoint_auth_methods_supported": test.methods,
			}
			if test.introspection != nil {
				want["introspection_endpoint"] = issuerURL + test.path + "/introspect"
				want["introspection_endpoint_auth_methods_supported"] = test.introspection
			}
			assert.Equal(t, want, k.send("GET", "/.well-known/oauth-authorization-server"+test.path, "").json(t))

			// Every URL it names answers.
			for endpoint, status := range map[string]int{"/token": 400, "/revoke": 400, "/introspect": 401, "/.well-known/jwks.json": 405} {
				if endpoint == "/introspect" && test.introspection == nil {
					status = 404
				}
				got := k.post(test.path+endpoint, "x=y")
				if test.change != nil && endpoint != "/.well-known/jwks.json" && status == 400 && len(test.methods) > 1 {
					status = 401 // no client is named
				}
				assert.Equal(t, status, got.status, endpoint)
			}
		})
	}
}

func TestOnlyPublicKeysArePublished(t *testing.T) {
	k := newKit(t, middlewaretest.Config{})
	const metadata, jwks = "/.well-known/oauth-authorization-server", "/.well-known/jwks.json"
	assert.JSONEq(t, `{"keys":[]}`, k.send("GET", jwks, "").body, "a shared secret is never published")
	assert.NotContains(t, k.send("GET", metadata, "").body, "jwks_uri")

	public, err := tokens.GenerateKey(tokens.EdDSA)
	require.NoError(t, err)
	before := k.send("GET", jwks, "")
	require.NoError(t, k.Issuer.Keys().Replace(k.Issuer.Keys().Active(), public))
	after := k.send("GET", jwks, "")
	assert.NotEqual(t, before.header.Get("ETag"), after.header.Get("ETag"))
	assert.Equal(t, issuerURL+jwks, k.send("GET", metadata, "").json(t)["jwks_uri"])
	published := after.json(t)["keys"].([]any)
	require.Len(t, published, 1)
	members := published[0].(map[string]any)
	assert.NotEmpty(t, members["x"])
	delete(members, "x")
	assert.Equal(t, map[string]any{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": public.ID()}, members)

	for _, path := range []string{metadata, jwks} {
		got := k.send("GET", path, "")
		assert.Equal(t, "application/json", got.header.Get("Content-Type"))
		assert.Contains(t, got.header.Get("Cache-Control"), "public, max-age=")
		assert.Equal(t, 304, k.send("GET", path, "", "If-None-Match", got.header.Get("ETag")).status)
		assert.Equal(t, 200, k.send("HEAD", path, "").status)
		got = k.send("POST", path, "")
		assert.Equal(t, 405, got.status)
		assert.Equal(t, "GET, HEAD", got.header.Get("Allow"))
	}

	// A retired key that has reached its end, by the clock of the server, verifies nothing.
	text, err := public.PrivateJWK()
	require.NoError(t, err)
	until := `{"oauthsv_state":"retired","oauthsv_verify_until":"` + k.Now().Add(time.Hour).Format(time.RFC3339) + `",`
	retired, err := tokens.ParseKeys([]byte(until + strings.TrimPrefix(string(text), "{")))
	require.NoError(t, err)
	require.NoError(t, k.Issuer.Keys().Replace(k.Issuer.Keys().Active(), retired[0]))
	assert.Len(t, k.send("GET", jwks, "").json(t)["keys"], 1)
	assert.Contains(t, k.send("GET", metadata, "").body, "jwks_uri")
	k.Sleep(time.Hour)
	assert.JSONEq(t, `{"keys":[]}`, k.send("GET", jwks, "").body)
	assert.NotContains(t, k.send("GET", metadata, "").body, "jwks_uri")
}
