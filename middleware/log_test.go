package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// TestReasonOfRefusalIsLogged: a client learns one thing for all reasons, and the
// operator learns the reason at debug level.
func TestReasonOfRefusalIsLogged(t *testing.T) {
	for name, test := range map[string]struct {
		authorization string // TOKEN stands for a good one
		finds         error
		status        int
		level, says   string
	}{
		"let in":         {authorization: "Bearer TOKEN", status: 404},
		"no credentials": {status: 401, level: "DEBUG", says: middleware.ErrNoCredentials.Error()},
		"another scheme": {authorization: "Basic hunter2", status: 401, level: "DEBUG", says: middleware.ErrNoCredentials.Error()},
		"no token":       {authorization: "Bearer hunter2", status: 401, level: "DEBUG", says: tokens.ErrMalformed.Error()},
		"bad signature":  {authorization: "Bearer TOKENhunter2", status: 401, level: "DEBUG", says: "tokens: "},
		"session ended":  {authorization: "Bearer TOKEN", finds: store.ErrSessionEnded, status: 401, level: "DEBUG", says: store.ErrSessionEnded.Error()},
		"disabled":       {authorization: "Bearer TOKEN", finds: store.ErrDisabled, status: 401, level: "DEBUG", says: store.ErrDisabled.Error()},
		"malformed":      {authorization: "Bearer hunter2 x", status: 400, level: "DEBUG", says: middleware.ErrMalformedCredentials.Error()},
		"outage":         {authorization: "Bearer TOKEN", finds: errors.New("table is locked"), status: 503, level: "WARN", says: "table is locked"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
				var log bytes.Buffer
				auth, _, token := newAuth(t, func(c *middleware.Config) {
					c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level}))
					if test.finds != nil {
						c.Accounts = finderFunc(func(context.Context, store.SessionRef) (*store.Account, error) { return nil, test.finds })
					}
				})
				r := httptest.NewRequest("GET", "/", nil)
				if test.authorization != "" {
					r.Header.Set("Authorization", strings.ReplaceAll(test.authorization, "TOKEN", token))
				}
				recorder := httptest.NewRecorder()
				auth.Require(http.NotFoundHandler()).ServeHTTP(recorder, r)
				assert.Equal(t, test.status, recorder.Code)
				text := log.String()
				if test.level == "" || level == slog.LevelInfo && test.level == "DEBUG" {
					assert.Empty(t, text)
					continue
				}
				assert.Contains(t, text, "level="+test.level+" ")
				assert.Contains(t, text, test.says)
				assert.Equal(t, 1, strings.Count(text, "\n"))
				assert.NotContains(t, text, "hunter2")
				for part := range strings.SplitSeq(token, ".") {
					assert.NotContains(t, text, part)
				}
			}
		})
	}
}

// BenchmarkRefused is a request that is refused while debug is off: the reason must
// cost nothing then.
func BenchmarkRefused(b *testing.B) {
	auth, _, _ := newAuth(b, func(c *middleware.Config) {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
		c.WriteError = func(http.ResponseWriter, *http.Request, *middleware.Error) {}
	})
	refused, recorder, r := auth.Require(http.NotFoundHandler()), httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	b.ReportAllocs()
	for b.Loop() {
		refused.ServeHTTP(recorder, r)
	}
}

// TestOtherIssuerIsWarnedOf: a genuine token of another issuer, or for another audience, shows that
// two configurations differ. The warning says what is expected here, and comes once.
func TestOtherIssuerIsWarnedOf(t *testing.T) {
	k := newKit(t, middlewaretest.Config{})
	issuer, token := k.Issuer, k.token
	for name, config := range map[string]tokens.VerifierConfig{
		"issuer":   {Keys: issuer.Keys(), Issuer: "http://127.0.0.1:8080", Audience: issuer.Audience(), Now: k.Now},
		"audience": {Keys: issuer.Keys(), Issuer: issuer.URL(), Audience: "http://127.0.0.1:8080", Now: k.Now},
	} {
		verifier, err := tokens.NewVerifier(config)
		require.NoError(t, err)
		var log bytes.Buffer
		auth, _, _ := newAuth(t, func(c *middleware.Config) {
			c.Verifier, c.Logger = verifier, slog.New(slog.NewTextHandler(&log, nil))
		})
		for range 3 {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			recorder := httptest.NewRecorder()
			auth.Require(http.NotFoundHandler()).ServeHTTP(recorder, r)
			assert.Equal(t, 401, recorder.Code, name)
		}
		assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), name)
		assert.Contains(t, log.String(), `expected \"http://127.0.0.1:8080\"`, name)
		assert.NotContains(t, log.String(), token, name)
	}
}
