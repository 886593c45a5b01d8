package tokens_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

// TestVerifyRefuses signs nearly every token with the right secret, so that only one rule
// can refuse it.
func TestVerifyRefuses(t *testing.T) {
	k := newKit(t)
	header := fmt.Sprintf(`{"alg":"HS512","typ":"at+jwt","kid":%q}`, k.key.ID())
	payload := fmt.Sprintf(`{"iss":%q,"sub":"s","aud":"api","client_id":"c","sid":"x","gen":1,"iat":1,"exp":%d,"jti":"j"}`,
		issuerURL, epoch.Unix()+60)
	require.NoError(t, k.verify(signParts(header, payload)), "the unchanged token is good")
	withMember := func(member string) string { return strings.TrimSuffix(payload, "}") + "," + member + "}" }
	withReplaced := func(old, new string) string {
		require.Contains(t, payload, old)
		return strings.Replace(payload, old, new, 1)
	}
	good := signParts(header, payload)
	parts := strings.Split(good, ".")

	for name, test := range map[string]struct {
		token string
		want  error
	}{
		"empty":            {"", tokens.ErrMalformed},
		"one segment":      {"abc", tokens.ErrMalformed},
		"two segments":     {parts[0] + "." + parts[1], tokens.ErrMalformed},
		"four segments":    {good + ".", tokens.ErrMalformed},
		"empty segment":    {parts[0] + ".." + parts[1] + "." + parts[2], tokens.ErrMalformed},
		"no header":        {"." + parts[1] + "." + parts[2], tokens.ErrMalformed},
		"five segments":    {good + ".a.b", tokens.ErrMalformed},
		"JSON form":        {`{"payload":"","signatures":[]}`, tokens.ErrMalformed},
		"too long":         {good + strings.Repeat("A", tokens.MaxLength), tokens.ErrMalformed},
		"space":            {" " + good, tokens.ErrMalformed},
		"empty signature":  {parts[0] + "." + parts[1] + ".", tokens.ErrSignature},
		"flipped bit":      {parts[0] + "." + parts[1] + "." + flipFirst(parts[2]), tokens.ErrSignature},
		"other payload":    {parts[0] + "." + encode(withMember(`"x":1`)) + "." + parts[2], tokens.ErrSignature},
		"alg none":         {encode(strings.Replace(header, "HS512", "none", 1)) + "." + parts[1] + ".", tokens.ErrAlgorithm},
		"alg HS256":        {signParts(strings.Replace(header, "HS512", "HS256", 1), payload), tokens.ErrAlgorithm},
		"alg missing":      {signParts(strings.Replace(header, `"alg":"HS512",`, "", 1), payload), tokens.ErrAlgorithm},
		"alg lower case":   {signParts(strings.Replace(header, "HS512", "hs512", 1), payload), tokens.ErrAlgorithm},
		"typ JWT":          {signParts(strings.Replace(header, "at+jwt", "JWT", 1), payload), tokens.ErrType},
		"typ missing":      {signParts(strings.Replace(header, `"typ":"at+jwt",`, "", 1), payload), tokens.ErrType},
		"typ of refresh":   {signParts(strings.Replace(header, "at+jwt", "rt+jwt", 1), payload), tokens.ErrType},
		"kid unknown":      {signParts(`{"alg":"HS512","typ":"at+jwt","kid":"other"}`, payload), tokens.ErrUnknownKey},
		"kid missing":      {signParts(`{"alg":"HS512","typ":"at+jwt"}`, payload), tokens.ErrUnknownKey},
		"kid a number":     {signParts(`{"alg":"HS512","typ":"at+jwt","kid":1}`, payload), tokens.ErrMalformed},
		"crit":             {signParts(strings.TrimSuffix(header, "}")+`,"crit":["exp"]}`, payload), tokens.ErrMalformed},
		"crit null":        {signParts(strings.TrimSuffix(header, "}")+`,"crit":null}`, payload), tokens.ErrMalformed},
		"b64 false":        {signParts(strings.TrimSuffix(header, "}")+`,"b64":false}`, payload), tokens.ErrMalformed},
		"header twice":     {signParts(strings.TrimSuffix(header, "}")+`,"alg":"HS512"}`, payload), tokens.ErrMalformed},
		"header case":      {signParts(strings.TrimSuffix(header, "}")+`,"ALG":"none"}`, payload), tokens.ErrMalformed},
		"header array":     {signParts(`[]`, payload), tokens.ErrMalformed},
		"header no JSON":   {signParts(`alg`, payload), tokens.ErrMalformed},
		"header trailing":  {signParts(header+"{}", payload), tokens.ErrMalformed},
		"header bad UTF-8": {signParts(strings.Replace(header, "at+jwt", "at\xff", 1), payload), tokens.ErrMalformed},

		"claims no JSON":       {signParts(header, "x"), tokens.ErrMalformed},
		"claims array":         {signParts(header, "[]"), tokens.ErrMalformed},
		"claims null":          {signParts(header, "null"), tokens.ErrMalformed},
		"claims trailing":      {signParts(header, payload+" {}"), tokens.ErrMalformed},
		"claims bad UTF-8":     {signParts(header, withReplaced(`"s"`, "\"\xc3\"")), tokens.ErrMalformed},
		"claims lone half":     {signParts(header, withReplaced(`"s"`, `"\ud800"`)), tokens.ErrMalformed},
		"claim twice":          {signParts(header, withMember(`"sub":"other"`)), tokens.ErrMalformed},
		"claim twice, escaped": {signParts(header, withMember(`"\u0073ub":"other"`)), tokens.ErrMalformed},
		"unknown claim twice":  {signParts(header, withMember(`"x":1,"x":2`)), tokens.ErrMalformed},
		"claim in other case":  {signParts(header, withMember(`"Sub":"other"`)), tokens.ErrMalformed},
		"sub in other case":    {signParts(header, withReplaced(`"sub"`, `"SUB"`)), tokens.ErrMalformed},
		"sub a number":         {signParts(header, withReplaced(`"sub":"s"`, `"sub":1`)), tokens.ErrMalformed},
		"sub null":             {signParts(header, withReplaced(`"sub":"s"`, `"sub":null`)), tokens.ErrMalformed},
		"sub missing":          {signParts(header, withReplaced(`"sub":"s",`, "")), tokens.ErrMalformed},
		"sub empty":            {signParts(header, withReplaced(`"sub":"s"`, `"sub":""`)), tokens.ErrMalformed},
		"client_id missing":    {signParts(header, withReplaced(`"client_id":"c",`, "")), tokens.ErrMalformed},
		"sid missing":          {signParts(header, withReplaced(`"sid":"x",`, "")), tokens.ErrMalformed},
		"jti missing":          {signParts(header, withReplaced(`,"jti":"j"`, "")), tokens.ErrMalformed},
		"gen missing":          {signParts(header, withReplaced(`"gen":1,`, "")), tokens.ErrMalformed},
		"gen null":             {signParts(header, withReplaced(`"gen":1`, `"gen":null`)), tokens.ErrMalformed},
		"gen zero":             {signParts(header, withReplaced(`"gen":1`, `"gen":0`)), tokens.ErrMalformed},
		"gen a fraction":       {signParts(header, withReplaced(`"gen":1`, `"gen":1.0`)), tokens.ErrMalformed},
		"gen a string":         {signParts(header, withReplaced(`"gen":1`, `"gen":"1"`)), tokens.ErrMalformed},
		"gen too large":        {signParts(header, withReplaced(`"gen":1`, `"gen":9223372036854775808`)), tokens.ErrMalformed},
		"iat missing":          {signParts(header, withReplaced(`"iat":1,`, "")), tokens.ErrMalformed},
		"iat a string":         {signParts(header, withReplaced(`"iat":1`, `"iat":"1"`)), tokens.ErrMalformed},
		"exp missing":          {signParts(header, withReplaced(fmt.Sprintf(`"exp":%d,`, epoch.Unix()+60), "")), tokens.ErrMalformed},
		"exp too large":        {signParts(header, withReplaced(`"exp":`, `"exp":99999999`)), tokens.ErrMalformed},
		"aud missing":          {signParts(header, withReplaced(`"aud":"api",`, "")), tokens.ErrMalformed},
		"aud null":             {signParts(header, withReplaced(`"aud":"api"`, `"aud":null`)), tokens.ErrMalformed},
		"aud empty array":      {signParts(header, withReplaced(`"aud":"api"`, `"aud":[]`)), tokens.ErrMalformed},
		"aud with null":        {signParts(header, withReplaced(`"aud":"api"`, `"aud":["api",null]`)), tokens.ErrMalformed},
		"aud object":           {signParts(header, withReplaced(`"aud":"api"`, `"aud":{"api":1}`)), tokens.ErrMalformed},
		"aud number":           {signParts(header, withReplaced(`"aud":"api"`, `"aud":1`)), tokens.ErrMalformed},
		"nbf null":             {signParts(header, withMember(`"nbf":null`)), tokens.ErrMalformed},
		"nbf a string":         {signParts(header, withMember(`"nbf":"1"`)), tokens.ErrMalformed},
		"nbf negative":         {signParts(header, withMember(`"nbf":-1`)), tokens.ErrMalformed},
		"nbf in 9999":          {signParts(header, withMember(`"nbf":253402300799`)), tokens.ErrNotYetValid},
		"nbf too large":        {signParts(header, withMember(`"nbf":253402300800`)), tokens.ErrMalformed},
		"nbf in the future":    {signParts(header, withMember(fmt.Sprintf(`"nbf":%d`, epoch.Unix()+1))), tokens.ErrNotYetValid},
		"other issuer":         {signParts(header, withReplaced(issuerURL, issuerURL+"/")), tokens.ErrIssuer},
		"other audience":       {signParts(header, withReplaced(`"api"`, `"API"`)), tokens.ErrAudience},
		"token endpoint":       {signParts(header, withReplaced(`"api"`, `"`+issuerURL+`/token"`)), tokens.ErrAudience},
		"expired":              {signParts(header, withReplaced(fmt.Sprint(epoch.Unix()+60), fmt.Sprint(epoch.Unix()))), tokens.ErrExpired},
		"other secret":         {signPartsWith([]byte(strings.Repeat("x", 64)), header, payload), tokens.ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			err := k.verify(test.token)
			require.ErrorIs(t, err, test.want)
			assert.ErrorIs(t, err, tokens.ErrInvalid)
			assert.Less(t, len(err.Error()), 150)
		})
	}
	for name, token := range map[string]string{
		"exp in 9999":   signParts(header, withReplaced(fmt.Sprint(epoch.Unix()+60), "253402300799")),
		"iat in 9999":   signParts(header, withReplaced(`"iat":1`, `"iat":253402300799`)),
		"nbf 0":         signParts(header, withMember(`"nbf":0`)),
		"aud array":     signParts(header, withReplaced(`"api"`, `["other","api"]`)),
		"nbf now":       signParts(header, withMember(fmt.Sprintf(`"nbf":%d`, epoch.Unix()))),
		"unknown claim": signParts(header, withMember(`"scope":"a b","cnf":{"jkt":"x"}`)),
		"white space":   signParts(" "+header, " "+payload+"\n"),
		"key in header": signParts(strings.TrimSuffix(header, "}")+`,"jwk":{"kty":"oct","k":"AAAA"},"jku":"https://evil.example"}`, payload),
	} {
		t.Run("accepts "+name, func(t *testing.T) { assert.NoError(t, k.verify(token)) })
	}
}

// secondSpelling returns another last character for base64 that ends within a byte. A lenient
// decoder reads the same bytes, because the last four bits of the character are not used.
func secondSpelling(last byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, last)+1])
}

func flipFirst(segment string) string {
	replacement := "A"
	if segment[0] == 'A' {
		replacement = "B"
	}
	return replacement + segment[1:]
}

// FuzzVerify: whatever is sent, there is an error of this package or good claims. What is accepted,
// jwx accepts too, and the cache answers what a verification anew does.
func FuzzVerify(f *testing.F) {
	k := newKit(f)
	uncached, err := tokens.NewVerifier(tokens.VerifierConfig{
		Keys: k.keys, Issuer: issuerURL, Audience: "api", CacheBytes: -1, Now: func() time.Time { return k.now },
	})
	require.NoError(f, err)
	header := fmt.Sprintf(`{"alg":"HS512","typ":"at+jwt","kid":%q}`, k.key.ID())
	f.Add(header, `{"sub":"x"}`, []byte("x"))
	for _, aud := range []string{`"api"`, `["other","api"]`} {
		f.Add(header, fmt.Sprintf(`{"iss":%q,"sub":"s\u00e4","aud":%s,"client_id":"c","sid":"x","gen":1,"iat":1,"exp":%d,"jti":"j","nbf":1,"more":[{}]}`,
			issuerURL, aud, epoch.Unix()+60), []byte("x"))
	}
	f.Fuzz(func(t *testing.T, header, payload string, raw []byte) {
		for _, token := range []string{signParts(header, payload), string(raw)} {
			got, err := k.verifier.Verify(context.Background(), token)
			for _, verifier := range []*tokens.Verifier{k.verifier, uncached} {
				again, errAgain := verifier.Verify(context.Background(), token)
				require.Equal(t, got, again)
				require.Equal(t, err == nil, errAgain == nil)
			}
			if err != nil {
				require.ErrorIs(t, err, tokens.ErrInvalid)
				require.Zero(t, got)
				continue
			}
			payload, err := jws.Verify([]byte(token), jws.WithKey(jwa.HS512, secret))
			require.NoError(t, err)
			require.Contains(t, token, encode(string(payload)))
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
