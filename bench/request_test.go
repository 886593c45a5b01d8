package bench

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	jwtmiddleware "github.com/auth0/go-jwt-middleware/v3"
	"github.com/auth0/go-jwt-middleware/v3/validator"
	"github.com/go-chi/jwtauth/v5"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/maypok86/otter/v2"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

const (
	issuerURL = "https://login.example.org"
	subject   = "65f0c0ffee65f0c0ffee0001"
)

// authenticator wraps a handler that asks subjectOf who the caller is.
type authenticator struct {
	wrap      func(http.Handler) http.Handler
	subjectOf func(context.Context) string
}

// issue signs the one token that all authenticate.
func issue(tb testing.TB, algorithm tokens.Algorithm) (token string, key *tokens.Key, keys *tokens.Keyring, secret []byte) {
	tb.Helper()
	secret = []byte(strings.Repeat("0123456789abcdef", 4))
	parsed, err := tokens.ParseKeys(secret)
	require.NoError(tb, err)
	key = parsed[0]
	if algorithm != tokens.HS512 {
		key, err = tokens.GenerateKey(algorithm)
		require.NoError(tb, err)
	}
	keys, err = tokens.NewKeyring(key)
	require.NoError(tb, err)
	issuer, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: issuerURL})
	require.NoError(tb, err)
	token, err = issuer.SignAccess(tokens.Claims{
		Subject: subject, ClientID: "app", SessionID: "AAECAwQFBgcICQoLDA0ODw", Generation: 1, Expiry: time.Now().Add(24 * time.Hour),
	})
	require.NoError(tb, err)
	return token, key, keys, secret
}

// constant is an account finder that costs nothing.
type constant struct{ account store.Account }

func (c *constant) FindBySession(context.Context, store.SessionRef) (*store.Account, error) {
	return &c.account, nil
}

func (c *constant) FindBySessionFresh(_ context.Context, _ store.SessionRef, seen *store.Account) (*store.Account, error) {
	return seen, nil
}

func oauthsv(tb testing.TB, keys *tokens.Keyring, cacheBytes int64) authenticator {
	tb.Helper()
	id, err := store.ParseID(subject)
	require.NoError(tb, err)
	verifier, err := tokens.NewVerifier(tokens.VerifierConfig{Keys: keys, Issuer: issuerURL, CacheBytes: cacheBytes})
	require.NoError(tb, err)
	auth, err := middleware.New(middleware.Config{Verifier: verifier, Accounts: &constant{store.Account{ID: id}}})
	require.NoError(tb, err)
	return authenticator{auth.Require, func(ctx context.Context) string {
		id, _ := middleware.AccountID(ctx)
		if id.IsZero() {
			return ""
		}
		return subject // what is compared is the id, without a conversion that the others do not need
	}}
}

func auth0(tb testing.TB, algorithm validator.SignatureAlgorithm, key any) authenticator {
	tb.Helper()
	validate, err := validator.New(
		validator.WithKeyFunc(func(context.Context) (any, error) { return key, nil }),
		validator.WithAlgorithm(algorithm), validator.WithIssuer(issuerURL), validator.WithAudience(issuerURL))
	require.NoError(tb, err)
	check, err := jwtmiddleware.New(jwtmiddleware.WithValidator(validate))
	require.NoError(tb, err)
	return authenticator{check.CheckJWT, func(ctx context.Context) string {
		claims, err := jwtmiddleware.GetClaims[*validator.ValidatedClaims](ctx)
		if err != nil {
			return ""
		}
		return claims.RegisteredClaims.Subject
	}}
}

func chi(algorithm string, private, public any) authenticator {
	auth := jwtauth.New(algorithm, private, public)
	return authenticator{
		func(next http.Handler) http.Handler {
			return jwtauth.Verifier(auth)(jwtauth.Authenticator(auth)(next))
		},
		func(ctx context.Context) string {
			_, claims, _ := jwtauth.FromContext(ctx)
			subject, _ := claims["sub"].(string)
			return subject
		},
	}
}

type subjectKey struct{}

// byHand is a middleware as one writes it, around a function that verifies.
func byHand(verify func(token string) (subject string, err error)) authenticator {
	return authenticator{
		func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
				if !found {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				subject, err := verify(token)
				if err != nil {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), subjectKey{}, &subject)))
			})
		},
		func(ctx context.Context) string {
			subject, _ := ctx.Value(subjectKey{}).(*string)
			if subject == nil {
				return ""
			}
			return *subject
		},
	}
}

func golangJWT(method string, key any) authenticator {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{method}), jwt.WithIssuer(issuerURL), jwt.WithAudience(issuerURL), jwt.WithExpirationRequired())
	return byHand(func(token string) (string, error) {
		var claims jwt.RegisteredClaims
		_, err := parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return key, nil })
		return claims.Subject, err
	})
}

var errRefused = errors.New("refused")

func jwsVerify(algorithm jwa.SignatureAlgorithm, key any) authenticator {
	return byHand(func(token string) (string, error) {
		payload, err := jws.Verify([]byte(token), jws.WithKey(algorithm, key))
		if err != nil {
			return "", err
		}
		var claims struct {
			Issuer   string `json:"iss"`
			Audience string `json:"aud"`
			Subject  string `json:"sub"`
			Expiry   int64  `json:"exp"`
		}
		if err := json.Unmarshal(payload, &claims); err != nil {
			return "", err
		}
		if claims.Issuer != issuerURL || claims.Audience != issuerURL || time.Now().Unix() >= claims.Expiry {
			return "", errRefused
		}
		return claims.Subject, nil
	})
}

// benchmark runs one authenticator over the token, once it has shown that it does
// its work.
func (a authenticator) benchmark(b *testing.B, token string) {
	got := ""
	handler := a.wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = a.subjectOf(r.Context()) }))
	request := func(token string) *http.Request {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		return r
	}
	for i := range 3 {
		got = ""
		handler.ServeHTTP(httptest.NewRecorder(), request(token))
		require.Equal(b, subject, got)
		at := len(token) - 20 - i
		flipped := token[:at] + string(token[at]^1) + token[at+1:]
		got = ""
		handler.ServeHTTP(httptest.NewRecorder(), request(flipped))
		require.Empty(b, got, "a flipped bit was not seen")
	}
	r, recorder := request(token), httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(recorder, r)
	}
	require.Equal(b, subject, got)
}

func BenchmarkRequestHS512(b *testing.B) {
	token, _, keys, secret := issue(b, tokens.HS512)
	b.Run("oauthsv_warm", func(b *testing.B) { oauthsv(b, keys, 0).benchmark(b, token) })
	b.Run("oauthsv_cold", func(b *testing.B) { oauthsv(b, keys, -1).benchmark(b, token) })
	b.Run("auth0/go-jwt-middleware", func(b *testing.B) { auth0(b, validator.HS512, secret).benchmark(b, token) })
	b.Run("go-chi/jwtauth", func(b *testing.B) { chi("HS512", secret, nil).benchmark(b, token) })
	b.Run("golang-jwt_by_hand", func(b *testing.B) { golangJWT("HS512", secret).benchmark(b, token) })
	b.Run("jwx_jws.Verify_by_hand", func(b *testing.B) { jwsVerify(jwa.HS512, secret).benchmark(b, token) })
	b.Run("limit_of_cold:_MAC_and_base64", func(b *testing.B) { macLimit(b, token, secret) })
	b.Run("limit_of_warm:_context_and_look-up", func(b *testing.B) { warmLimit(b, token) })
}

func BenchmarkRequestEdDSA(b *testing.B) {
	token, key, keys, _ := issue(b, tokens.EdDSA)
	jwk, err := key.PrivateJWK()
	require.NoError(b, err)
	var members struct{ D string }
	require.NoError(b, json.Unmarshal(jwk, &members))
	seed, err := base64.RawURLEncoding.DecodeString(members.D)
	require.NoError(b, err)
	private := ed25519.NewKeyFromSeed(seed)
	public := private.Public().(ed25519.PublicKey)
	b.Run("oauthsv_warm", func(b *testing.B) { oauthsv(b, keys, 0).benchmark(b, token) })
	b.Run("oauthsv_cold", func(b *testing.B) { oauthsv(b, keys, -1).benchmark(b, token) })
	b.Run("auth0/go-jwt-middleware", func(b *testing.B) { auth0(b, validator.EdDSA, public).benchmark(b, token) })
	b.Run("go-chi/jwtauth", func(b *testing.B) { chi("EdDSA", private, public).benchmark(b, token) })
	b.Run("golang-jwt_by_hand", func(b *testing.B) { golangJWT("EdDSA", public).benchmark(b, token) })
	b.Run("limit_of_cold:_ed25519.Verify", func(b *testing.B) {
		signed, signature := cut(b, token)
		b.ReportAllocs()
		for b.Loop() {
			if !ed25519.Verify(public, signed, signature) {
				b.Fatal("wrong signature")
			}
		}
	})
}

func cut(b *testing.B, token string) (signed, signature []byte) {
	at := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[at+1:])
	require.NoError(b, err)
	return []byte(token[:at]), signature
}

// macLimit is the MAC and the base64 alone.
func macLimit(b *testing.B, token string, secret []byte) {
	compact := []byte(token)
	at, first := strings.LastIndexByte(token, '.'), strings.IndexByte(token, '.')
	mac, sum := hmac.New(sha512.New, secret), make([]byte, 0, sha512.Size)
	memory := make([]byte, len(token))
	b.ReportAllocs()
	for b.Loop() {
		signature, err := base64.RawURLEncoding.AppendDecode(memory[:0], compact[at+1:])
		if err != nil {
			b.Fatal(err)
		}
		mac.Reset()
		mac.Write(compact[:at])
		if !hmac.Equal(mac.Sum(sum), signature) {
			b.Fatal("wrong signature")
		}
		if _, err := base64.RawURLEncoding.AppendDecode(memory[:0], compact[first+1:at]); err != nil {
			b.Fatal(err)
		}
	}
}

// limitCaller is the least that a context can say of a caller.
type limitCaller struct {
	subject *string
	session string
}

// warmLimit is what is left when the token is known: the header, one look-up in the
// same cache, the clock, and the context.
func warmLimit(b *testing.B, token string) {
	known := otter.Must(&otter.Options[string, *string]{MaximumSize: 1000, Executor: func(work func()) { work() }})
	name := subject
	known.Set(token, &name)
	expiry := time.Now().Add(24 * time.Hour)
	byHandLimit := authenticator{
		func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				header := r.Header["Authorization"]
				if len(header) != 1 || len(header[0]) < 7 {
					return
				}
				subject, found := known.GetIfPresent(header[0][7:])
				if !found || !time.Now().Before(expiry) {
					return
				}
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), subjectKey{}, &limitCaller{subject: subject, session: "AAECAwQFBgcICQoLDA0ODw"})))
			})
		},
		func(ctx context.Context) string {
			caller, _ := ctx.Value(subjectKey{}).(*limitCaller)
			if caller == nil {
				return ""
			}
			return *caller.subject
		},
	}
	byHandLimit.benchmark(b, token)
}
