package tokens_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

func TestSignedTokensVerify(t *testing.T) {
	everyAlgorithm(t, func(t *testing.T, key *tokens.Key) {
		k := newKit(t, key)
		access, err := k.issuer.SignAccess(claims)
		require.NoError(t, err)
		got, err := k.verifier.Verify(t.Context(), access)
		require.NoError(t, err)
		assert.Contains(t, decode(t, strings.Split(access, ".")[1]), `"jti":"`+got.ID+`"`)
		want := claims
		want.ID, want.Issuer, want.Audience, want.IssuedAt = got.ID, issuerURL, []string{"api"}, epoch
		assert.Equal(t, want, got.Claims)

		refresh, err := k.issuer.SignRefresh(claims)
		require.NoError(t, err)
		parsed, err := k.issuer.VerifyRefresh(refresh)
		require.NoError(t, err)
		want.ID, want.Audience = parsed.ID, []string{issuerURL + "/token"}
		assert.Equal(t, want, parsed.Claims)

		assert.JSONEq(t, fmt.Sprintf(`{"alg":%q,"typ":"at+jwt","kid":%q}`, key.Algorithm(), key.ID()), decode(t, strings.Split(access, ".")[0]))
		assert.JSONEq(t, fmt.Sprintf(`{"alg":"HS512","typ":"rt+jwt","kid":%q}`, key.ID()), decode(t, strings.Split(refresh, ".")[0]))
	})
}

func TestKindsAreNotInterchangeable(t *testing.T) {
	everyAlgorithm(t, func(t *testing.T, key *tokens.Key) {
		k := newKit(t, key)
		access, err := k.issuer.SignAccess(claims)
		require.NoError(t, err)
		refresh, err := k.issuer.SignRefresh(claims)
		require.NoError(t, err)
		assert.ErrorIs(t, k.verify(refresh), tokens.ErrType)
		_, err = k.issuer.VerifyRefresh(access)
		assert.ErrorIs(t, err, tokens.ErrType)
	})
	t.Run("a refresh token is not signed with the secret itself", func(t *testing.T) {
		k := newKit(t)
		refresh, err := k.issuer.SignRefresh(claims)
		require.NoError(t, err)
		parts := strings.Split(refresh, ".")
		assert.NotEqual(t, signParts(decode(t, parts[0]), decode(t, parts[1])), refresh)
	})
}

func TestEveryClaimIsWritten(t *testing.T) {
	k := newKit(t)
	access, err := k.issuer.SignAccess(claims)
	require.NoError(t, err)
	var written map[string]any
	require.NoError(t, json.Unmarshal([]byte(decode(t, strings.Split(access, ".")[1])), &written))
	assert.NotEmpty(t, written["jti"])
	delete(written, "jti")
	assert.Equal(t, map[string]any{
		"iss": issuerURL, "aud": "api", "sub": "subject", "client_id": "client", "sid": "session",
		"gen": 3.0, "iat": float64(epoch.Unix()), "exp": float64(epoch.Unix() + 60),
	}, written)
}

// TestEveryAudienceIsShown: a token may be for several services (RFC 7519 section 4.1.3).
func TestEveryAudienceIsShown(t *testing.T) {
	k := newKit(t)
	header := fmt.Sprintf(`{"alg":"HS512","typ":"at+jwt","kid":%q}`, k.key.ID())
	payload := `{"iss":"` + issuerURL + `","aud":%s,"sub":"s","client_id":"c","sid":"i","jti":"j","gen":1,"iat":1767323045,"exp":1767323105}`
	for aud, want := range map[string][]string{
		`"api"`: {"api"}, `["api"]`: {"api"}, `["other","api"]`: {"other", "api"}, `["api","other"]`: {"api", "other"},
	} {
		token, err := k.verifier.Verify(t.Context(), signParts(header, fmt.Sprintf(payload, aud)))
		require.NoError(t, err, aud)
		assert.Equal(t, want, token.Audience, aud)
	}
}

// TestErrorHoldsNoPartOfAToken: it goes to the log.
func TestErrorHoldsNoPartOfAToken(t *testing.T) {
	k := newKit(t)
	good := fmt.Sprintf(`{"alg":"HS512","typ":"at+jwt","kid":%q}`, k.key.ID())
	for _, token := range []string{
		signParts(`{"hunter2":1,"hunter2":2}`, "{}"), signParts(`{"alg":{"hunter2":1}}`, "{}"), signParts(`{hunter2}`, "{}"),
		signParts(`{"alg":"hunter2","typ":"at+jwt"}`, "{}"), signParts(`{"Hunter2":1,"kid":"hunter2","ALG":1}`, "{}"),
		signParts(good, `{"hunter2":1,"hunter2":2}`), signParts(good, `{"iss":{"hunter2":1}}`), signParts(good, `{hunter2}`),
		"hunter2", "hunter2.hunter2.hunter2", "hunter2\n.a.b",
	} {
		err := k.verify(token)
		require.ErrorIs(t, err, tokens.ErrInvalid)
		assert.NotContains(t, err.Error(), "unter2")
	}
}

func TestClock(t *testing.T) {
	k := newKit(t)
	token, err := k.issuer.SignAccess(claims)
	require.NoError(t, err)
	refresh, err := k.issuer.SignRefresh(claims)
	require.NoError(t, err)
	k.now = claims.Expiry.Add(-time.Nanosecond)
	assert.NoError(t, k.verify(token))
	_, err = k.issuer.VerifyRefresh(refresh)
	assert.NoError(t, err)
	k.now = claims.Expiry
	assert.ErrorIs(t, k.verify(token), tokens.ErrExpired)
	_, err = k.issuer.VerifyRefresh(refresh)
	assert.ErrorIs(t, err, tokens.ErrExpired)
	k.now = epoch.Add(-time.Hour)
	assert.NoError(t, k.verify(token), "iat is not compared with the clock")

	lenient, err := tokens.NewVerifier(tokens.VerifierConfig{
		Keys: k.keys, Issuer: issuerURL, Audience: "api", Leeway: time.Second, Now: func() time.Time { return k.now },
	})
	require.NoError(t, err)
	k.now = claims.Expiry.Add(time.Second - 1)
	_, err = lenient.Verify(t.Context(), token)
	assert.NoError(t, err)
	k.now = claims.Expiry.Add(time.Second)
	_, err = lenient.Verify(t.Context(), token)
	assert.ErrorIs(t, err, tokens.ErrExpired)

	early := signParts(`{"alg":"HS512","typ":"at+jwt","kid":"`+k.key.ID()+`"}`, fmt.Sprintf(
		`{"iss":%q,"aud":"api","sub":"s","client_id":"c","sid":"x","jti":"j","gen":1,"iat":1,"nbf":%d,"exp":%d}`, issuerURL, epoch.Unix(), epoch.Unix()+60))
	k.now = epoch.Add(-time.Second)
	_, err = lenient.Verify(t.Context(), early)
	assert.NoError(t, err)
	assert.ErrorIs(t, k.verify(early), tokens.ErrNotYetValid)
	k.now = epoch.Add(-time.Second - 1)
	_, err = lenient.Verify(t.Context(), early)
	assert.ErrorIs(t, err, tokens.ErrNotYetValid)
}

func TestKeyringReplace(t *testing.T) {
	first, err := tokens.GenerateKey(tokens.HS512)
	require.NoError(t, err)
	second, err := tokens.GenerateKey(tokens.EdDSA)
	require.NoError(t, err)
	k := newKit(t, first)
	old, err := k.issuer.SignAccess(claims)
	require.NoError(t, err)
	oldRefresh, err := k.issuer.SignRefresh(claims)
	require.NoError(t, err)

	require.NoError(t, k.keys.Replace(second, first))
	assert.Equal(t, second, k.keys.Active())
	fresh, err := k.issuer.SignAccess(claims)
	require.NoError(t, err)
	assert.NoError(t, k.verify(old))
	assert.NoError(t, k.verify(fresh))
	_, err = k.issuer.VerifyRefresh(oldRefresh)
	assert.NoError(t, err)

	require.NoError(t, k.keys.Replace(second))
	assert.ErrorIs(t, k.verify(old), tokens.ErrUnknownKey)
	assert.NoError(t, k.verify(fresh))
	_, err = k.issuer.VerifyRefresh(oldRefresh)
	assert.ErrorIs(t, err, tokens.ErrUnknownKey)

	public, err := tokens.ParseKeys([]byte("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n"))
	require.NoError(t, err)
	require.NoError(t, k.keys.Replace(public...))
	_, err = k.issuer.SignAccess(claims)
	assert.ErrorIs(t, err, tokens.ErrKey, "no key can sign")
	_, err = k.issuer.SignRefresh(claims)
	assert.ErrorIs(t, err, tokens.ErrKey)
	require.NoError(t, k.keys.Replace(second))

	assert.ErrorIs(t, k.keys.Replace(), tokens.ErrKey)
	assert.ErrorIs(t, k.keys.Replace(first, first), tokens.ErrKey)
	assert.NoError(t, k.verify(fresh), "a refused change changes nothing")
}

// TestIssuerPathCanBeMounted: endpoints stand below the path of the issuer, and a mux
// finds them there.
func TestIssuerPathCanBeMounted(t *testing.T) {
	keys := newKit(t).keys
	for issuer, good := range map[string]bool{
		"https://h": true, "https://h/": true, "https://h/tenant": true, "https://h/tenant/a/": true, "http://h:1/tenant": true,
		"https://h/{a}": false, "https://h/a b": false, "https://h/%C3%A9": true, "https://h/\u00e9": true, "https://h/%41": true,
		"http://h/a%09b": false, "http://h/a%00": false, "http://h/%7F": false, "http://h/%C2%85": false, "http://h/%0A/": false,
		"http://h/a%2Fb": false, "http://h/a%2fb": false, "http://h/%2F": false, "http://h/a%2541": false,
		"http://h//": false, "http://h///": false, "http://h/a//": false, "http://h//a": false,
		"http://h/a%20b": false, "http://h/%7Ba%7D": false, "http://h/a/../b": false, "http://h/%2E%2E/a": false,
	} {
		_, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: issuer, Audience: "api"})
		_, verifierErr := tokens.NewVerifier(tokens.VerifierConfig{Keys: keys, Issuer: issuer})
		for _, err := range []error{err, verifierErr} {
			if good {
				assert.NoError(t, err, issuer)
			} else {
				assert.ErrorContains(t, err, "Issuer is", issuer)
				assert.ErrorContains(t, err, "path", issuer)
			}
		}
	}
}

func TestConfigurationErrorsNameEachField(t *testing.T) {
	_, err := tokens.NewIssuer(tokens.IssuerConfig{})
	assert.ErrorContains(t, err, "Keys is required")
	assert.ErrorContains(t, err, "Issuer is")
	_, err = tokens.NewVerifier(tokens.VerifierConfig{Issuer: "ftp://x", Leeway: -1})
	assert.ErrorContains(t, err, "Keys is required")
	assert.ErrorContains(t, err, "Issuer is")
	assert.ErrorContains(t, err, "Leeway is -1ns")

	k := newKit(t)
	for _, issuer := range []string{"", "login.example.org", "https://", "https://x?q", "https://x?", "https://x#f", "https://x#", "https://x/#", "https://x/?#", "http://h/#", "http://h/?", "https://u@x", "https://u:hunter2@x", "https://u:hunter2@", "u:hunter2@x", "mailto:x@y", "http://a b", "https://h/\xff"} {
		_, err := tokens.NewVerifier(tokens.VerifierConfig{Keys: k.keys, Issuer: issuer})
		assert.ErrorContains(t, err, "Issuer is", issuer)
		assert.NotContains(t, err.Error(), "hunter2")
		_, err = tokens.NewIssuer(tokens.IssuerConfig{Keys: k.keys, Issuer: issuer})
		assert.ErrorContains(t, err, "Issuer is", issuer)
		assert.NotContains(t, err.Error(), "hunter2")
	}
	_, err = tokens.NewIssuer(tokens.IssuerConfig{Keys: k.keys, Issuer: issuerURL, Audience: issuerURL + "/token"})
	assert.ErrorContains(t, err, "Audience must not be the token endpoint")
	_, err = tokens.NewIssuer(tokens.IssuerConfig{Keys: k.keys, Issuer: issuerURL, Audience: "\xff"})
	assert.ErrorContains(t, err, `Audience is "\xff"`)
}

// TestSignRefusesWhatVerifyWould: an issuer signs no token that every verifier refuses.
func TestSignRefusesWhatVerifyWould(t *testing.T) {
	k := newKit(t)
	for name, change := range map[string]func(*tokens.Claims){
		"no subject":       func(c *tokens.Claims) { c.Subject = "" },
		"no client":        func(c *tokens.Claims) { c.ClientID = "" },
		"no session":       func(c *tokens.Claims) { c.SessionID = "" },
		"no generation":    func(c *tokens.Claims) { c.Generation = 0 },
		"expired":          func(c *tokens.Claims) { c.Expiry = epoch },
		"no expiry":        func(c *tokens.Claims) { c.Expiry = time.Time{} },
		"subject no UTF-8": func(c *tokens.Claims) { c.Subject = "\xff" },
		"subject too long": func(c *tokens.Claims) { c.Subject = strings.Repeat("s", tokens.MaxLength) },
		"after 9999":       func(c *tokens.Claims) { c.Expiry = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		bad := claims
		change(&bad)
		_, err := k.issuer.SignAccess(bad)
		assert.ErrorIs(t, err, tokens.ErrInvalid, name)
		_, err = k.issuer.SignRefresh(bad)
		assert.ErrorIs(t, err, tokens.ErrInvalid, name)
	}

	last := claims
	last.Expiry = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	token, err := k.issuer.SignAccess(last)
	require.NoError(t, err)
	assert.NoError(t, k.verify(token), "the last moment of 9999")

	longest := 0
	for length := tokens.MaxLength / 2; ; length++ {
		long := claims
		long.Subject = strings.Repeat("s", length)
		token, err := k.issuer.SignAccess(long)
		if err != nil {
			break
		}
		longest = len(token)
		require.NoError(t, k.verify(token))
	}
	assert.Equal(t, tokens.MaxLength, longest)
}

func TestIssuerKnowsItsURLs(t *testing.T) {
	k := newKit(t)
	assert.Equal(t, issuerURL, k.issuer.URL())
	assert.Equal(t, "api", k.issuer.Audience())
	assert.Equal(t, issuerURL+"/token", k.issuer.TokenEndpoint())
	slash, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: k.keys, Issuer: issuerURL + "/"})
	require.NoError(t, err)
	assert.Equal(t, []any{issuerURL + "/", issuerURL + "/token"}, []any{slash.URL(), slash.TokenEndpoint()})
	assert.Same(t, k.keys, k.issuer.Keys())
	assert.Same(t, k.issuer.Verifier(), k.issuer.Verifier(), "all callers share its cache")
	token, err := k.issuer.SignAccess(claims)
	require.NoError(t, err)
	_, err = k.issuer.Verifier().Verify(t.Context(), token)
	assert.NoError(t, err)
}

// TestLeewayHoldsForCachedTokens: a second look at a token is no stricter than the first.
func TestLeewayHoldsForCachedTokens(t *testing.T) {
	k := newKit(t)
	verifier, err := tokens.NewVerifier(tokens.VerifierConfig{
		Keys: k.keys, Issuer: issuerURL, Audience: "api", Leeway: 10 * time.Second, Now: func() time.Time { return k.now },
	})
	require.NoError(t, err)
	token, err := k.issuer.SignAccess(claims)
	require.NoError(t, err)
	for after, want := range map[time.Duration]error{-time.Minute: nil, 10*time.Second - 1: nil, 10 * time.Second: tokens.ErrExpired} {
		for _, at := range []time.Time{claims.Expiry.Add(-time.Minute), claims.Expiry.Add(after)} { // the first fills the cache
			k.now = at
			_, err = verifier.Verify(t.Context(), token)
		}
		assert.ErrorIs(t, err, want, after)
	}
}

// TestTypeIsCheckedFirst, and a type of another kind of token is none of ours, whoever asks.
func TestTypeIsCheckedFirst(t *testing.T) {
	k := newKit(t)
	_, payload, _ := strings.Cut(signAccess(t, k.key), ".")
	claims := decode(t, payload[:strings.Index(payload, ".")])
	assert.ErrorIs(t, k.verify(signParts(`{"alg":"HS512","typ":"rt+jwt","kid":"nobody"}`, claims)), tokens.ErrType)
	for _, typ := range []string{"JWT", "", "application/at+jwt", "AT+JWT"} {
		token := signParts(fmt.Sprintf(`{"alg":"HS512","typ":%q,"kid":%q}`, typ, k.key.ID()), claims)
		_, err := k.issuer.VerifyForRevocation(token)
		assert.ErrorIs(t, err, tokens.ErrType, "%q", typ)
		assert.ErrorIs(t, k.verify(token), tokens.ErrType, "%q", typ)
	}
}

// TestKeyringKeepsItsOwnList: a slice that goes in or comes out is the caller's.
func TestKeyringKeepsItsOwnList(t *testing.T) {
	first, second := generate(t, tokens.HS512), generate(t, tokens.HS512)
	keys := []*tokens.Key{first, second}
	ring, err := tokens.NewKeyring(keys...)
	require.NoError(t, err)
	keys[0] = nil
	ring.Keys()[1] = nil
	assert.Equal(t, []*tokens.Key{first, second}, ring.Keys())
}
