package tokens_test

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

const issuerURL = "https://login.example.org"

var (
	epoch        = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	secret       = []byte(strings.Repeat("0123456789abcdef", 4))
	binarySecret = []byte(strings.Repeat("\xff\x00\x9c\x01\xe2\x7f\x80\n\xd3\x1b\xfe\x33\xa0\x5d\xc4\x10", 4))

	claims = tokens.Claims{
		Subject: "subject", ClientID: "client", SessionID: "session", Generation: 3, Expiry: epoch.Add(time.Minute),
	}
)

type kit struct {
	now      time.Time
	key      *tokens.Key
	keys     *tokens.Keyring
	issuer   *tokens.Issuer
	verifier *tokens.Verifier
}

func newKit(t testing.TB, keys ...*tokens.Key) *kit {
	t.Helper()
	k := &kit{now: epoch}
	if len(keys) == 0 {
		parsed, err := tokens.ParseKeys(secret)
		require.NoError(t, err)
		keys = parsed
	}
	k.key = keys[0]
	var err error
	k.keys, err = tokens.NewKeyring(keys...)
	require.NoError(t, err)
	now := func() time.Time { return k.now }
	k.issuer, err = tokens.NewIssuer(tokens.IssuerConfig{Keys: k.keys, Issuer: issuerURL, Audience: "api", Now: now})
	require.NoError(t, err)
	k.verifier, err = tokens.NewVerifier(tokens.VerifierConfig{Keys: k.keys, Issuer: issuerURL, Audience: "api", Now: now})
	require.NoError(t, err)
	return k
}

func (k *kit) verify(token string) error {
	_, err := k.verifier.Verify(context.Background(), token)
	return err
}

// sign makes a token of any header and payload text under the kit's HMAC secret.
func sign(header, payload string) string { return signWith(secret, header, payload) }

func signWith(secret []byte, header, payload string) string {
	signed := encode(header) + "." + encode(payload)
	mac := hmac.New(sha512.New, secret)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func decode(t testing.TB, segment string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(segment)
	require.NoError(t, err)
	return string(text)
}

func everyAlgorithm(t *testing.T, test func(*testing.T, *tokens.Key)) {
	for _, algorithm := range []tokens.Algorithm{tokens.HS512, tokens.EdDSA, tokens.ES256, tokens.RS256} {
		t.Run(string(algorithm), func(t *testing.T) {
			key, err := tokens.GenerateKey(algorithm)
			require.NoError(t, err)
			require.Equal(t, algorithm, key.Algorithm())
			test(t, key)
		})
	}
}

func TestSignedTokensVerify(t *testing.T) {
	everyAlgorithm(t, func(t *testing.T, key *tokens.Key) {
		k := newKit(t, key)
		access, err := k.issuer.SignAccess(claims)
		require.NoError(t, err)
		got, err := k.verifier.Verify(t.Context(), access)
		require.NoError(t, err)
		assert.NotEmpty(t, got.ID)
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
		assert.NotEqual(t, sign(decode(t, parts[0]), decode(t, parts[1])), refresh)
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
}

// TestVerifyRefuses: everything is signed with the right secret, so that only the
// rule in question can refuse.
func TestVerifyRefuses(t *testing.T) {
	k := newKit(t)
	header := fmt.Sprintf(`{"alg":"HS512","typ":"at+jwt","kid":%q}`, k.key.ID())
	payload := fmt.Sprintf(`{"iss":%q,"sub":"s","aud":"api","client_id":"c","sid":"x","gen":1,"iat":1,"exp":%d,"jti":"j"}`,
		issuerURL, epoch.Unix()+60)
	require.NoError(t, k.verify(sign(header, payload)), "the pattern itself is good")
	with := func(member string) string { return strings.TrimSuffix(payload, "}") + "," + member + "}" }
	replaced := func(old, new string) string {
		require.Contains(t, payload, old)
		return strings.Replace(payload, old, new, 1)
	}
	good := sign(header, payload)
	parts := strings.Split(good, ".")

	for name, test := range map[string]struct {
		token string
		want  error
	}{
		"empty":            {"", tokens.ErrMalformed},
		"one segment":      {"abc", tokens.ErrMalformed},
		"two segments":     {parts[0] + "." + parts[1], tokens.ErrMalformed},
		"four segments":    {good + ".", tokens.ErrMalformed},
		"five segments":    {good + ".a.b", tokens.ErrMalformed},
		"JSON form":        {`{"payload":"","signatures":[]}`, tokens.ErrMalformed},
		"too long":         {good + strings.Repeat("A", tokens.MaxLength), tokens.ErrMalformed},
		"line feed":        {parts[0] + "." + parts[1][:4] + "\n" + parts[1][4:] + "." + parts[2], tokens.ErrMalformed},
		"carriage return":  {good + "\r", tokens.ErrMalformed},
		"padding":          {good + "==", tokens.ErrMalformed},
		"space":            {" " + good, tokens.ErrMalformed},
		"standard base64":  {parts[0] + "." + parts[1] + "." + strings.NewReplacer("-", "+", "_", "/").Replace(parts[2]) + "+", tokens.ErrMalformed},
		"second spelling":  {good[:len(good)-1] + secondSpelling(good[len(good)-1]), tokens.ErrMalformed},
		"empty signature":  {parts[0] + "." + parts[1] + ".", tokens.ErrSignature},
		"flipped bit":      {parts[0] + "." + parts[1] + "." + flip(parts[2]), tokens.ErrSignature},
		"other payload":    {parts[0] + "." + encode(with(`"x":1`)) + "." + parts[2], tokens.ErrSignature},
		"alg none":         {encode(strings.Replace(header, "HS512", "none", 1)) + "." + parts[1] + ".", tokens.ErrAlgorithm},
		"alg HS256":        {sign(strings.Replace(header, "HS512", "HS256", 1), payload), tokens.ErrAlgorithm},
		"alg missing":      {sign(strings.Replace(header, `"alg":"HS512",`, "", 1), payload), tokens.ErrAlgorithm},
		"alg lower case":   {sign(strings.Replace(header, "HS512", "hs512", 1), payload), tokens.ErrAlgorithm},
		"typ JWT":          {sign(strings.Replace(header, "at+jwt", "JWT", 1), payload), tokens.ErrType},
		"typ missing":      {sign(strings.Replace(header, `"typ":"at+jwt",`, "", 1), payload), tokens.ErrType},
		"typ of refresh":   {sign(strings.Replace(header, "at+jwt", "rt+jwt", 1), payload), tokens.ErrType},
		"kid unknown":      {sign(`{"alg":"HS512","typ":"at+jwt","kid":"other"}`, payload), tokens.ErrUnknownKey},
		"kid missing":      {sign(`{"alg":"HS512","typ":"at+jwt"}`, payload), tokens.ErrUnknownKey},
		"kid a number":     {sign(`{"alg":"HS512","typ":"at+jwt","kid":1}`, payload), tokens.ErrMalformed},
		"crit":             {sign(strings.TrimSuffix(header, "}")+`,"crit":["exp"]}`, payload), tokens.ErrMalformed},
		"crit null":        {sign(strings.TrimSuffix(header, "}")+`,"crit":null}`, payload), tokens.ErrMalformed},
		"b64 false":        {sign(strings.TrimSuffix(header, "}")+`,"b64":false}`, payload), tokens.ErrMalformed},
		"header twice":     {sign(strings.TrimSuffix(header, "}")+`,"alg":"HS512"}`, payload), tokens.ErrMalformed},
		"header case":      {sign(strings.TrimSuffix(header, "}")+`,"ALG":"none"}`, payload), tokens.ErrMalformed},
		"header array":     {sign(`[]`, payload), tokens.ErrMalformed},
		"header no JSON":   {sign(`alg`, payload), tokens.ErrMalformed},
		"header trailing":  {sign(header+"{}", payload), tokens.ErrMalformed},
		"header bad UTF-8": {sign(strings.Replace(header, "at+jwt", "at\xff", 1), payload), tokens.ErrMalformed},

		"claims no JSON":       {sign(header, "x"), tokens.ErrMalformed},
		"claims array":         {sign(header, "[]"), tokens.ErrMalformed},
		"claims null":          {sign(header, "null"), tokens.ErrMalformed},
		"claims trailing":      {sign(header, payload+" {}"), tokens.ErrMalformed},
		"claims bad UTF-8":     {sign(header, replaced(`"s"`, "\"\xc3\"")), tokens.ErrMalformed},
		"claims lone half":     {sign(header, replaced(`"s"`, `"\ud800"`)), tokens.ErrMalformed},
		"claim twice":          {sign(header, with(`"sub":"other"`)), tokens.ErrMalformed},
		"claim twice, escaped": {sign(header, with(`"\u0073ub":"other"`)), tokens.ErrMalformed},
		"unknown claim twice":  {sign(header, with(`"x":1,"x":2`)), tokens.ErrMalformed},
		"claim in other case":  {sign(header, with(`"Sub":"other"`)), tokens.ErrMalformed},
		"sub in other case":    {sign(header, replaced(`"sub"`, `"SUB"`)), tokens.ErrMalformed},
		"sub a number":         {sign(header, replaced(`"sub":"s"`, `"sub":1`)), tokens.ErrMalformed},
		"sub null":             {sign(header, replaced(`"sub":"s"`, `"sub":null`)), tokens.ErrMalformed},
		"sub missing":          {sign(header, replaced(`"sub":"s",`, "")), tokens.ErrMalformed},
		"sub empty":            {sign(header, replaced(`"sub":"s"`, `"sub":""`)), tokens.ErrMalformed},
		"client_id missing":    {sign(header, replaced(`"client_id":"c",`, "")), tokens.ErrMalformed},
		"sid missing":          {sign(header, replaced(`"sid":"x",`, "")), tokens.ErrMalformed},
		"jti missing":          {sign(header, replaced(`,"jti":"j"`, "")), tokens.ErrMalformed},
		"gen missing":          {sign(header, replaced(`"gen":1,`, "")), tokens.ErrMalformed},
		"gen null":             {sign(header, replaced(`"gen":1`, `"gen":null`)), tokens.ErrMalformed},
		"gen zero":             {sign(header, replaced(`"gen":1`, `"gen":0`)), tokens.ErrMalformed},
		"gen a fraction":       {sign(header, replaced(`"gen":1`, `"gen":1.0`)), tokens.ErrMalformed},
		"gen a string":         {sign(header, replaced(`"gen":1`, `"gen":"1"`)), tokens.ErrMalformed},
		"gen too large":        {sign(header, replaced(`"gen":1`, `"gen":9223372036854775808`)), tokens.ErrMalformed},
		"iat missing":          {sign(header, replaced(`"iat":1,`, "")), tokens.ErrMalformed},
		"iat a string":         {sign(header, replaced(`"iat":1`, `"iat":"1"`)), tokens.ErrMalformed},
		"exp missing":          {sign(header, replaced(fmt.Sprintf(`"exp":%d,`, epoch.Unix()+60), "")), tokens.ErrMalformed},
		"exp too large":        {sign(header, replaced(`"exp":`, `"exp":99999999`)), tokens.ErrMalformed},
		"aud missing":          {sign(header, replaced(`"aud":"api",`, "")), tokens.ErrMalformed},
		"aud null":             {sign(header, replaced(`"aud":"api"`, `"aud":null`)), tokens.ErrMalformed},
		"aud empty array":      {sign(header, replaced(`"aud":"api"`, `"aud":[]`)), tokens.ErrMalformed},
		"aud with null":        {sign(header, replaced(`"aud":"api"`, `"aud":["api",null]`)), tokens.ErrMalformed},
		"aud object":           {sign(header, replaced(`"aud":"api"`, `"aud":{"api":1}`)), tokens.ErrMalformed},
		"aud number":           {sign(header, replaced(`"aud":"api"`, `"aud":1`)), tokens.ErrMalformed},
		"nbf null":             {sign(header, with(`"nbf":null`)), tokens.ErrMalformed},
		"nbf a string":         {sign(header, with(`"nbf":"1"`)), tokens.ErrMalformed},
		"nbf negative":         {sign(header, with(`"nbf":-1`)), tokens.ErrMalformed},
		"nbf in the future":    {sign(header, with(fmt.Sprintf(`"nbf":%d`, epoch.Unix()+1))), tokens.ErrNotYetValid},
		"other issuer":         {sign(header, replaced(issuerURL, issuerURL+"/")), tokens.ErrIssuer},
		"other audience":       {sign(header, replaced(`"api"`, `"API"`)), tokens.ErrAudience},
		"token endpoint":       {sign(header, replaced(`"api"`, `"`+issuerURL+`/token"`)), tokens.ErrAudience},
		"expired":              {sign(header, replaced(fmt.Sprint(epoch.Unix()+60), fmt.Sprint(epoch.Unix()))), tokens.ErrExpired},
		"other secret":         {signWith([]byte(strings.Repeat("x", 64)), header, payload), tokens.ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			err := k.verify(test.token)
			require.ErrorIs(t, err, test.want)
			assert.ErrorIs(t, err, tokens.ErrInvalid)
			assert.Less(t, len(err.Error()), 150)
		})
	}
	for name, token := range map[string]string{
		"aud array":     sign(header, replaced(`"api"`, `["other","api"]`)),
		"nbf now":       sign(header, with(fmt.Sprintf(`"nbf":%d`, epoch.Unix()))),
		"unknown claim": sign(header, with(`"scope":"a b","cnf":{"jkt":"x"}`)),
		"white space":   sign(" "+header, " "+payload+"\n"),
		"key in header": sign(strings.TrimSuffix(header, "}")+`,"jwk":{"kty":"oct","k":"AAAA"},"jku":"https://evil.example"}`, payload),
	} {
		t.Run("accepts "+name, func(t *testing.T) { assert.NoError(t, k.verify(token)) })
	}
}

func secondSpelling(last byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	// 64 bytes end in a character of which the last four bits are not used.
	return string(alphabet[strings.IndexByte(alphabet, last)+1])
}

func flip(segment string) string {
	replacement := "A"
	if segment[0] == 'A' {
		replacement = "B"
	}
	return replacement + segment[1:]
}

// TestPublicKeyIsNoSecret: the old trick of HMAC under the public key's bytes.
func TestPublicKeyIsNoSecret(t *testing.T) {
	key, err := tokens.GenerateKey(tokens.EdDSA)
	require.NoError(t, err)
	k := newKit(t, key)
	jwk, err := key.PrivateJWK()
	require.NoError(t, err)
	var members struct{ X string }
	require.NoError(t, json.Unmarshal(jwk, &members))
	public := ed25519.PublicKey(decode(t, members.X))
	for _, algorithm := range []string{"HS512", "EdDSA"} {
		header := fmt.Sprintf(`{"alg":%q,"typ":"at+jwt","kid":%q}`, algorithm, key.ID())
		assert.ErrorIs(t, k.verify(signWith(public, header, "{}")), tokens.ErrInvalid)
	}
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
	assert.ErrorIs(t, err, tokens.ErrKey, "no key is left that can sign")
	_, err = k.issuer.SignRefresh(claims)
	assert.ErrorIs(t, err, tokens.ErrKey)
	require.NoError(t, k.keys.Replace(second))

	assert.ErrorIs(t, k.keys.Replace(), tokens.ErrKey)
	assert.ErrorIs(t, k.keys.Replace(first, first), tokens.ErrKey)
	assert.NoError(t, k.verify(fresh), "a refused change changes nothing")
}

func TestConfigurationErrorsNameEachField(t *testing.T) {
	_, err := tokens.NewIssuer(tokens.IssuerConfig{})
	assert.ErrorContains(t, err, "Keys is required")
	assert.ErrorContains(t, err, "Issuer must be")
	_, err = tokens.NewVerifier(tokens.VerifierConfig{Issuer: "ftp://x", Leeway: -1})
	assert.ErrorContains(t, err, "Keys is required")
	assert.ErrorContains(t, err, "Issuer must be")
	assert.ErrorContains(t, err, "Leeway must not be negative")

	k := newKit(t)
	for _, issuer := range []string{"", "login.example.org", "https://", "https://x?q", "https://x?", "https://x#f", "https://x#", "https://x/#", "https://x/?#", "http://h/#", "http://h/?", "https://u@x", "mailto:x@y", "http://a b"} {
		_, err := tokens.NewVerifier(tokens.VerifierConfig{Keys: k.keys, Issuer: issuer})
		assert.ErrorContains(t, err, "Issuer must be", issuer)
		_, err = tokens.NewIssuer(tokens.IssuerConfig{Keys: k.keys, Issuer: issuer})
		assert.ErrorContains(t, err, "Issuer must be", issuer)
	}
	_, err = tokens.NewIssuer(tokens.IssuerConfig{Keys: k.keys, Issuer: issuerURL, Audience: issuerURL + "/token"})
	assert.ErrorContains(t, err, "Audience must not be the token endpoint")
}

func FuzzVerify(f *testing.F) {
	k := newKit(f)
	header := fmt.Sprintf(`{"alg":"HS512","typ":"at+jwt","kid":%q}`, k.key.ID())
	f.Add(header, `{"sub":"x"}`, []byte("x"))
	f.Fuzz(func(t *testing.T, header, payload string, raw []byte) {
		for _, token := range []string{sign(header, payload), string(raw)} {
			got, err := k.verifier.Verify(context.Background(), token)
			if err != nil {
				require.ErrorIs(t, err, tokens.ErrInvalid)
				require.Zero(t, got)
				continue
			}
			require.Equal(t, issuerURL, got.Issuer)
			require.Contains(t, got.Audience, "api")
			require.True(t, got.Expiry.After(k.now))
			require.NotEmpty(t, got.Subject)
		}
		_, err := k.issuer.VerifyRefresh(string(raw))
		if err != nil {
			require.ErrorIs(t, err, tokens.ErrInvalid)
		}
	})
}

// TestSignRefusesWhatVerifyWould: no token leaves the issuer that no verifier accepts.
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
	} {
		bad := claims
		change(&bad)
		_, err := k.issuer.SignAccess(bad)
		assert.ErrorIs(t, err, tokens.ErrInvalid, name)
		_, err = k.issuer.SignRefresh(bad)
		assert.ErrorIs(t, err, tokens.ErrInvalid, name)
	}
}

func TestIssuerKnowsItsURLs(t *testing.T) {
	k := newKit(t)
	assert.Equal(t, issuerURL, k.issuer.URL())
	assert.Equal(t, "api", k.issuer.Audience())
	assert.Equal(t, issuerURL+"/token", k.issuer.TokenEndpoint())
	assert.Same(t, k.keys, k.issuer.Keys())
	assert.Same(t, k.issuer.Verifier(), k.issuer.Verifier(), "all who use it share its memory")
	token, err := k.issuer.SignAccess(claims)
	require.NoError(t, err)
	_, err = k.issuer.Verifier().Verify(t.Context(), token)
	assert.NoError(t, err)
	for issuer, good := range map[string]bool{
		"https://h": true, "https://h/": true, "https://h/tenant/a": true, "https://h/tenant/a/": true, "http://h:1/%C3%A9": true,
		"https://h//a": false, "https://h/a/../b": false, "https://h/{a}": false, "https://h/a b": false, "https://h/a#": false,
	} {
		_, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: k.keys, Issuer: issuer})
		assert.Equal(t, good, err == nil, issuer)
	}
}
