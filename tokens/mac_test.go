package tokens_test

import (
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

// randomSecret makes a secret of 64 to 300 bytes, so that some are longer than a block of SHA-512.
func randomSecret(random *rand.Rand) []byte {
	secret := make([]byte, 64+random.IntN(237))
	for i := range secret {
		secret[i] = byte(random.Uint32())
	}
	return append([]byte{0xff, 0x00}, secret...) // no text, so that nothing is trimmed
}

// randomText makes a text that is not empty, with all that JSON must escape.
func randomText(random *rand.Rand) string {
	alphabet := []rune("aZ09-_.\"\\/<>&'\n\t\x01\x7fäß€ \U0001f600\ufffd")
	text := make([]rune, 1+random.IntN(40))
	for i := range text {
		text[i] = alphabet[random.IntN(len(alphabet))]
	}
	return string(text)
}

func randomClaims(random *rand.Rand) tokens.Claims {
	return tokens.Claims{
		Subject: randomText(random), ClientID: randomText(random), SessionID: randomText(random),
		Generation: 1 + random.Int64N(1<<62), Expiry: epoch.Add(time.Duration(1+random.IntN(1<<30)) * time.Second),
	}
}

// TestTokensAreThoseOfJWX: jwx verifies what an Issuer signs and would have signed it the same, and
// a Verifier accepts what jwx signs and nothing that differs in a bit of the signature.
func TestTokensAreThoseOfJWX(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		secret := randomSecret(random)
		keys, err := tokens.ParseKeys(secret)
		require.NoError(t, err)
		k := newKit(t, keys...)
		signed := randomClaims(random)
		token, err := k.issuer.SignAccess(signed)
		require.NoError(t, err)

		payload, err := jws.Verify([]byte(token), jws.WithKey(jwa.HS512, secret))
		require.NoError(t, err)
		signer, err := jws.NewSigner(jwa.HS512)
		require.NoError(t, err)
		at := strings.LastIndexByte(token, '.')
		signature, err := signer.Sign([]byte(token[:at]), secret)
		require.NoError(t, err)
		require.Equal(t, token[at+1:], base64.RawURLEncoding.EncodeToString(signature))

		var members map[string]any
		decoder := json.NewDecoder(strings.NewReader(string(payload)))
		decoder.UseNumber()
		require.NoError(t, decoder.Decode(&members))
		require.Len(t, members, 9)
		assert.Equal(t, signed.Subject, members["sub"])
		assert.Equal(t, signed.ClientID, members["client_id"])
		assert.Equal(t, signed.SessionID, members["sid"])
		assert.Equal(t, issuerURL, members["iss"])
		assert.Equal(t, "api", members["aud"])

		verified, err := k.verifier.Verify(t.Context(), token)
		require.NoError(t, err)
		signed.ID, signed.Issuer, signed.Audience, signed.IssuedAt = verified.ID, issuerURL, []string{"api"}, epoch
		require.NotEmpty(t, verified.ID)
		require.Equal(t, signed, verified.Claims)

		flipped := []byte(base64.RawURLEncoding.EncodeToString(flip(signature, random.IntN(8*len(signature)))))
		require.ErrorIs(t, k.verify(token[:at+1]+string(flipped)), tokens.ErrSignature)
		require.ErrorIs(t, k.verify(token[:at+1]+base64.RawURLEncoding.EncodeToString(signature[:63])), tokens.ErrSignature)
		require.ErrorIs(t, k.verify(token[:at+1]+base64.RawURLEncoding.EncodeToString(append(signature, 0))), tokens.ErrSignature)
	}
}

func flip(signature []byte, bit int) []byte {
	flipped := append([]byte(nil), signature...)
	flipped[bit/8] ^= 1 << (bit % 8)
	return flipped
}

// TestCallersShareNoMAC: callers that sign and verify at once, with two keys, get what each would
// get alone.
func TestCallersShareNoMAC(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	kits := make([]*kit, 2)
	for i := range kits {
		keys, err := tokens.ParseKeys(randomSecret(random))
		require.NoError(t, err)
		kits[i] = newKit(t, keys...)
	}
	var group sync.WaitGroup
	for caller := range 8 {
		random := rand.New(rand.NewPCG(5, uint64(caller)))
		group.Go(func() {
			for range 200 {
				mine, other := kits[caller%2], kits[1-caller%2]
				signed := randomClaims(random)
				access, err := mine.issuer.SignAccess(signed)
				assert.NoError(t, err)
				refresh, err := mine.issuer.SignRefresh(signed)
				assert.NoError(t, err)
				verified, err := mine.verifier.Verify(t.Context(), access)
				assert.NoError(t, err)
				assert.Equal(t, signed.Subject, verified.Subject)
				refreshed, err := mine.issuer.VerifyRefresh(refresh)
				assert.NoError(t, err)
				assert.Equal(t, signed.SessionID, refreshed.SessionID)
				assert.ErrorIs(t, other.verify(access), tokens.ErrUnknownKey)
			}
		})
	}
	group.Wait()
}

// BenchmarkMAC shows why HS512 does not go through jwx: a whole verification, and what jwx takes
// for the MAC alone.
func BenchmarkMAC(b *testing.B) {
	k := newKit(b)
	token, err := k.issuer.SignAccess(claims)
	require.NoError(b, err)
	at := strings.LastIndexByte(token, '.')
	signed := []byte(token[:at])
	signature, err := base64.RawURLEncoding.DecodeString(token[at+1:])
	require.NoError(b, err)
	verifier, err := jws.NewVerifier(jwa.HS512)
	require.NoError(b, err)
	b.Run("jwx,_MAC_alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := verifier.Verify(signed, signature, secret); err != nil {
				b.Fatal(err)
			}
		}
	})
	cold, err := tokens.NewVerifier(tokens.VerifierConfig{
		Keys: k.keys, Issuer: issuerURL, Audience: "api", CacheBytes: -1, Now: func() time.Time { return epoch },
	})
	require.NoError(b, err)
	b.Run("whole_verification", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := cold.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSign signs an access token, and encodes the same claims with json.Marshal, which signing
// does without.
func BenchmarkSign(b *testing.B) {
	k := newKit(b)
	b.Run("SignAccess", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := k.issuer.SignAccess(claims); err != nil {
				b.Fatal(err)
			}
		}
	})
	token, err := k.issuer.SignAccess(claims)
	require.NoError(b, err)
	payload := decode(b, strings.Split(token, ".")[1])
	var members struct {
		Issuer     string `json:"iss"`
		Audience   string `json:"aud"`
		Subject    string `json:"sub"`
		ClientID   string `json:"client_id"`
		SessionID  string `json:"sid"`
		ID         string `json:"jti"`
		Generation int64  `json:"gen"`
		IssuedAt   int64  `json:"iat"`
		Expiry     int64  `json:"exp"`
	}
	require.NoError(b, json.Unmarshal([]byte(payload), &members))
	b.Run("Marshal_of_the_claims", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := jsonv2.Marshal(&members); err != nil {
				b.Fatal(err)
			}
		}
	})
}
