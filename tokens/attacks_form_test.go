package tokens_test

import (
	"crypto/sha512"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwe"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

// signAsSpelled signs the two segments as they are, so that only their form is wrong.
func signAsSpelled(header, claims string) string {
	return signHMAC(sha512.New, secret, header+"."+claims)
}

// TestOtherSpellingOfBase64IsRefused: a lenient decoder reads the same bytes. Each token
// is signed as it is spelled.
func TestOtherSpellingOfBase64IsRefused(t *testing.T) {
	k := newKit(t)
	// Spaces make the length leave a rest, so that the last character has unused bits. The
	// text also needs both characters that the two alphabets do not share.
	spell := func(text string) string {
		text = strings.TrimSuffix(text, "}") + `,"x":"?>?>?>~~~"}`
		for len(text)%3 != 1 {
			text += " "
		}
		return encode(text)
	}
	head, claims := spell(header("HS512", "at+jwt", k.key.ID())), spell(goodClaims("api"))
	good := signAsSpelled(head, claims)
	require.NoError(t, k.verify(good), "the unchanged token is good")
	for name, respell := range map[string]func(string) string{
		"unused bits":       func(s string) string { return s[:len(s)-1] + secondSpelling(s[len(s)-1]) },
		"padding":           func(s string) string { return s + "==" },
		"half the padding":  func(s string) string { return s + "=" },
		"standard alphabet": func(s string) string { return strings.NewReplacer("-", "+", "_", "/").Replace(s) },
		"line feed":         func(s string) string { return s[:4] + "\n" + s[4:] },
		"first line feed":   func(s string) string { return "\n" + s },
		"first CR":          func(s string) string { return "\r" + s },
		"CRLF":              func(s string) string { return s[:4] + "\r\n" + s[4:] },
		"last line feed":    func(s string) string { return s + "\n" },
		"space":             func(s string) string { return s + " " },
		"tab":               func(s string) string { return s[:4] + "\t" + s[4:] },
		"NUL":               func(s string) string { return s + "\x00" },
		"escape of a URL":   func(s string) string { return fmt.Sprintf("%%%02x", s[0]) + s[1:] },
		"a rest of 6 bits":  func(s string) string { return s[:len(s)-1] },
	} {
		require.NotEqual(t, head, respell(head), name)
		assert.ErrorIs(t, k.verify(signAsSpelled(respell(head), claims)), tokens.ErrMalformed, "%s in the header", name)
		assert.ErrorIs(t, k.verify(signAsSpelled(head, respell(claims))), tokens.ErrMalformed, "%s in the claims", name)
		if signature := good[len(head+claims)+2:]; respell(signature) != signature {
			assert.ErrorIs(t, k.verify(head+"."+claims+"."+respell(signature)), tokens.ErrMalformed, "%s in the signature", name)
		}
	}
}

// TestRepeatedMemberIsRefused: a parser that takes the last of two members sees another
// token than one that takes the first. TestVerifyRefuses has the plain cases.
func TestRepeatedMemberIsRefused(t *testing.T) {
	k := newKit(t)
	head, claims := header("HS512", "at+jwt", k.key.ID()), goodClaims("api")
	with := func(object, member string) string { return strings.TrimSuffix(object, "}") + "," + member + "}" }
	for _, member := range []string{
		`"typ":"rt+jwt"`, `"kid":"other"`, `"\u0061lg":"none"`, `"al\u0067":"HS512"`, `"\u006bid":"other"`, `"x":1,"\u0078":2`, `"jwk":{"k":"a","k":"b"}`,
	} {
		assert.ErrorIs(t, k.verify(signParts(with(head, member), claims)), tokens.ErrMalformed, "%s in the header", member)
	}
	for _, member := range []string{
		`"exp":1`, `"e\u0078p":4102444800`, `"aud":["other"]`, `"\u0061ud":"other"`, `"x":{"a":1,"\u0061":2}`, `"x":[{"a":1,"a":2}]`,
	} {
		assert.ErrorIs(t, k.verify(signParts(head, with(claims, member))), tokens.ErrMalformed, "%s in the claims", member)
	}
	escaped := strings.NewReplacer(`"alg"`, `"\u0061lg"`, `"sub"`, `"s\u0075b"`)
	assert.NoError(t, k.verify(signParts(escaped.Replace(head), escaped.Replace(claims))), "one member with an escape is that member, and no other parser sees two")
}

// TestOnlyCompactSerializationIsTaken: RFC 7515 section 7.2, and JWE (RFC 7516). All of
// them are made with the right secret.
func TestOnlyCompactSerializationIsTaken(t *testing.T) {
	k := newKit(t)
	head, claims := header("HS512", "at+jwt", k.key.ID()), goodClaims("api")
	parts := strings.Split(signParts(head, claims), ".")
	encrypted, err := jwe.Encrypt([]byte(claims), jwe.WithKey(jwa.DIRECT, secret), jwe.WithContentEncryption(jwa.A256CBC_HS512))
	require.NoError(t, err)
	require.Equal(t, 4, strings.Count(string(encrypted), "."))
	nested, err := jwe.Encrypt([]byte(strings.Join(parts, ".")), jwe.WithKey(jwa.DIRECT, secret), jwe.WithContentEncryption(jwa.A256CBC_HS512))
	require.NoError(t, err)
	direct := `{"alg":"dir","enc":"A256CBC-HS512","typ":"at+jwt","kid":"` + k.key.ID() + `"}`
	for name, token := range map[string]string{
		"flattened":                   fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2]),
		"general":                     fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, parts[1], parts[0], parts[2]),
		"flattened with two dots":     fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q,"header":{"x":".."}}`, parts[0], parts[1], parts[2]),
		"unprotected header":          fmt.Sprintf(`{"header":%s,"payload":%q,"signature":%q}`, head, parts[1], parts[2]),
		"an array of compact ones":    fmt.Sprintf("[%q]", strings.Join(parts, ".")),
		"a compact one as a string":   fmt.Sprintf("%q", strings.Join(parts, ".")),
		"detached payload":            parts[0] + ".." + parts[2],
		"JWE":                         string(encrypted),
		"JWE around a good token":     string(nested),
		"JWE, three segments of five": strings.Join(strings.Split(string(encrypted), ".")[:3], "."),
	} {
		assert.ErrorIs(t, k.verify(token), tokens.ErrInvalid, name)
		assert.ErrorIs(t, k.verifyRefresh(token), tokens.ErrInvalid, name)
	}
	assert.ErrorIs(t, k.verify(signParts(direct, claims)), tokens.ErrAlgorithm, "a header of JWE in a JWS")
	assert.ErrorIs(t, k.verify(signParts(strings.TrimSuffix(head, "}")+`,"cty":"JWT"}`, `"`+strings.Join(parts, ".")+`"`)), tokens.ErrMalformed, "a token in a token")

	// RFC 7797: the payload is in the clear.
	clear := encode(strings.TrimSuffix(head, "}")+`,"b64":false,"crit":["b64"]}`) + "." + strings.ReplaceAll(claims, ".", "")
	assert.ErrorIs(t, k.verify(signHMAC(sha512.New, secret, clear)), tokens.ErrMalformed)
}

// TestLargeTokenCostsLittle: whatever is in the token, its length bounds the memory.
func TestLargeTokenCostsLittle(t *testing.T) {
	k := newKit(t)
	head, claims := header("HS512", "at+jwt", k.key.ID()), goodClaims("api")
	with := func(object, member string) string { return strings.TrimSuffix(object, "}") + "," + member + "}" }
	const room = 5000
	contents := map[string]string{
		"arrays":        `"x":` + strings.Repeat("[", room/2) + strings.Repeat("]", room/2),
		"objects":       `"x":` + strings.Repeat(`{"":`, room/6) + "1" + strings.Repeat("}", room/6),
		"a string":      `"x":"` + strings.Repeat("x", room) + `"`,
		"escapes":       `"x":"` + strings.Repeat(`\u0000`, room/6) + `"`,
		"a number":      `"x":1` + strings.Repeat("0", room),
		"white space":   `"x":` + strings.Repeat(" ", room) + "1",
		"a long name":   `"` + strings.Repeat("x", room) + `":1`,
		"many elements": `"x":[1` + strings.Repeat(",1", room/2) + "]",
	}
	var members strings.Builder
	for i := range room / 12 {
		fmt.Fprintf(&members, `"x%d":%d,`, i, i)
	}
	contents["many members"] = strings.TrimSuffix(members.String(), ",")
	allocated := func(token string) (bytes uint64, err error) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = k.verify(token)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc, err
	}
	for name, content := range contents {
		for part, token := range map[string]string{"header": signParts(with(head, content), claims), "claims": signParts(head, with(claims, content))} {
			require.LessOrEqual(t, len(token), tokens.MaxLength)
			bytes, err := allocated(token)
			assert.NoError(t, err, "%s in the %s: unknown members are ignored", name, part)
			assert.Less(t, bytes, uint64(1<<20), "%s in the %s", name, part)
		}
	}
	pad := func(length int) string { // a good token of this length
		padding := ""
		token := signParts(head, claims)
		for len(token) < length {
			padding += strings.Repeat("x", max(1, (length-len(token))/2))
			token = signParts(head, with(claims, `"x":"`+padding+`"`))
		}
		require.LessOrEqual(t, len(token), length+1)
		return token
	}
	assert.NoError(t, k.verify(pad(tokens.MaxLength-1)))
	for _, length := range []int{tokens.MaxLength + 1, 16 << 20} {
		token := strings.Repeat("A", length-4) + ".e.e"
		bytes, err := allocated(token)
		assert.ErrorIs(t, err, tokens.ErrMalformed)
		assert.Less(t, bytes, uint64(64<<10), "a token of %d bytes is not copied", length)
		_, err = k.issuer.VerifyRefresh(token)
		assert.ErrorIs(t, err, tokens.ErrMalformed)
	}
}

// TestKeyIDIsOnlyCompared: some libraries have used it as the name of a file, in a query,
// or as an address. An attacker points at an empty file and signs with an empty secret.
func TestKeyIDIsOnlyCompared(t *testing.T) {
	for name, kid := range map[string]string{
		"path": "../../../../../../dev/null", "absolute path": "/dev/null", "path of a file": "attacks_form_test.go", "Windows path": `..\\..\\NUL`,
		"query": "' OR 1=1 --", "union": "x' UNION SELECT 'AA", "URL": "http://127.0.0.1:1/key", "file URL": "file:///dev/null", "command": "x|id", "template": "{{7*7}}",
		"very long": strings.Repeat("k", 5000), "NUL": `key\u0000`, "line feed": `key\n`, "brackets": "[]", "stars": "**", "spaces": "  ",
	} {
		hs := newKit(t)
		for _, id := range []string{kid, hs.key.ID() + kid, kid + hs.key.ID()} {
			head := `{"alg":"HS512","typ":"TYPE","kid":"` + id + `"}`
			for _, secret := range [][]byte{nil, secret} {
				err := hs.verify(signPartsWith(secret, strings.Replace(head, "TYPE", "at+jwt", 1), goodClaims("api")))
				assert.ErrorIs(t, err, tokens.ErrUnknownKey, name)
				assert.NotContains(t, err.Error(), kid, "the error repeats nothing of the token")
				err = hs.verifyRefresh(signPartsWith(secret, strings.Replace(head, "TYPE", "rt+jwt", 1), goodClaims(issuerURL+"/token")))
				assert.ErrorIs(t, err, tokens.ErrUnknownKey, name)
			}
		}
	}
	t.Run("by a RemoteVerifier", func(t *testing.T) {
		k := newTarget(t, tokens.EdDSA)
		for _, kid := range []string{"../evil", "http://127.0.0.1:1/key", "?x=1#", `a\u0000`} {
			signed := encode(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+kid+`"}`) + "." + encode(goodClaims("api"))
			assert.ErrorIs(t, k.verifiers["RemoteVerifier"](signed+"."+encode(string(signatureOf(t, k.private, signed)))), tokens.ErrUnknownKey, kid)
		}
	})
}

// TestOneKindIsNeverTheOther adds to TestKindsAreNotInterchangeable what a thief can do
// with both tokens, or somebody who knows the secret of access tokens alone.
func TestOneKindIsNeverTheOther(t *testing.T) {
	everyAlgorithm(t, func(t *testing.T, key *tokens.Key) {
		k := newKit(t, key)
		access, err := k.issuer.SignAccess(claims)
		require.NoError(t, err)
		refresh, err := k.issuer.SignRefresh(claims)
		require.NoError(t, err)
		a, r := strings.Split(access, "."), strings.Split(refresh, ".")
		assert.ErrorIs(t, k.verify(a[0]+"."+r[1]+"."+r[2]), tokens.ErrSignature, "another header before a refresh token")
		assert.ErrorIs(t, k.verify(a[0]+"."+r[1]+"."+a[2]), tokens.ErrSignature)
		assert.ErrorIs(t, k.verifyRefresh(r[0]+"."+a[1]+"."+a[2]), tokens.ErrSignature, "another header before an access token")
		assert.ErrorIs(t, k.verifyRefresh(r[0]+"."+a[1]+"."+r[2]), tokens.ErrSignature)
	})
	t.Run("the secret of access tokens makes no refresh token", func(t *testing.T) {
		k := newKit(t)
		refresh := signParts(header("HS512", "rt+jwt", k.key.ID()), goodClaims(issuerURL+"/token"))
		assert.ErrorIs(t, k.verifyRefresh(refresh), tokens.ErrSignature)
		_, err := k.issuer.VerifyForRevocation(refresh)
		assert.ErrorIs(t, err, tokens.ErrSignature)
	})
	t.Run("not even where issuer, audience and signature are right", func(t *testing.T) {
		k := newKit(t)
		// A verifier that somebody has configured with the wrong audience, and a token of
		// somebody who knows the secret of access tokens.
		careless, err := tokens.NewVerifier(tokens.VerifierConfig{
			Keys: k.keys, Issuer: issuerURL, Audience: k.issuer.TokenEndpoint(), CacheBytes: -1, Now: func() time.Time { return k.now },
		})
		require.NoError(t, err)
		refresh, err := k.issuer.SignRefresh(claims)
		require.NoError(t, err)
		access := signParts(header("HS512", "at+jwt", k.key.ID()), goodClaims(issuerURL+"/token"))
		for _, when := range []string{"at first", "once each header is known from a good token"} {
			_, err = careless.Verify(t.Context(), refresh)
			assert.ErrorIs(t, err, tokens.ErrType, when)
			assert.ErrorIs(t, k.verifyRefresh(access), tokens.ErrType, when)
			require.NoError(t, k.verifyRefresh(refresh))
			_, err = careless.Verify(t.Context(), access)
			require.NoError(t, err)
		}
	})
	for _, algorithm := range []tokens.Algorithm{tokens.EdDSA, tokens.ES256, tokens.RS256} {
		t.Run("to a RemoteVerifier of "+string(algorithm), func(t *testing.T) {
			k := newTarget(t, algorithm)
			refresh, err := k.issuer.SignRefresh(claims)
			require.NoError(t, err)
			assert.ErrorIs(t, k.verifiers["RemoteVerifier"](refresh), tokens.ErrType)
		})
	}
}

// TestSameKeyOfAnotherIssuer: two issuers share a key, as two installations with one key
// file do. Neither takes the tokens of the other.
func TestSameKeyOfAnotherIssuer(t *testing.T) {
	k := newTarget(t, tokens.EdDSA)
	for _, url := range []string{"https://other.example.org", issuerURL + "/tenant", strings.ToUpper(issuerURL), strings.Replace(issuerURL, "https", "http", 1), issuerURL + ":443"} {
		other, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: k.keys, Issuer: url, Audience: "api", Now: func() time.Time { return k.now }})
		require.NoError(t, err)
		access, err := other.SignAccess(claims)
		require.NoError(t, err)
		for verifier, verify := range k.verifiers {
			assert.ErrorIs(t, verify(access), tokens.ErrIssuer, "%s to %s", url, verifier)
		}
		refresh, err := other.SignRefresh(claims)
		require.NoError(t, err)
		assert.ErrorIs(t, k.verifyRefresh(refresh), tokens.ErrIssuer, url)
		_, err = k.issuer.VerifyForRevocation(refresh)
		assert.ErrorIs(t, err, tokens.ErrIssuer, url)
	}
}

// TestStrangeTimeIsRefused: times that overflow, round or count as absent.
func TestStrangeTimeIsRefused(t *testing.T) {
	k := newKit(t)
	head := header("HS512", "at+jwt", k.key.ID())
	soon := fmt.Sprint(epoch.Unix() + 60)
	for _, value := range []string{
		"1e300", "1e9999", "1e10", "4102444800.0", "4102444800.5", "9223372036854775807", "9223372036854775808", "18446744073709551616",
		"1" + strings.Repeat("0", 4000), "-1", "-4102444800", "-9223372036854775808", "0", "-0", `"4102444800"`, `""`, "[4102444800]", "[]", `{"t":4102444800}`, "{}",
		"true", "null", `"2100-01-01T00:00:00Z"`, "253402300800",
	} {
		for name, replaced := range map[string]string{"exp": `"exp":` + soon, "iat": `"iat":1`} {
			payload := strings.Replace(goodClaims("api"), replaced, fmt.Sprintf("%q:%s", name, value), 1)
			require.NotEqual(t, goodClaims("api"), payload)
			assert.ErrorIs(t, k.verify(signParts(head, payload)), tokens.ErrMalformed, "%.40s as %s", value, name)
		}
	}
}
