package oauthsvotel_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/oauthsv/oauthsv/grant"
	oauthsvotel "github.com/oauthsv/oauthsv/grant/otel"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mail"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/password"
	"github.com/oauthsv/oauthsv/tokens"
)

// register observes the parts, and returns a function that reads everything: for each
// instrument and attribute, such as "oauthsv.store.calls method=Ping", the value.
func register(t *testing.T, config oauthsvotel.Config) (read func() map[string]float64, unregister func() error) {
	t.Helper()
	reader := sdk.NewManualReader()
	config.MeterProvider = sdk.NewMeterProvider(sdk.WithReader(reader))
	registration, err := oauthsvotel.Register(config)
	require.NoError(t, err)
	return func() map[string]float64 {
		t.Helper()
		var all metricdata.ResourceMetrics
		require.NoError(t, reader.Collect(t.Context(), &all))
		values := make(map[string]float64)
		for _, scope := range all.ScopeMetrics {
			assert.Equal(t, "github.com/oauthsv/oauthsv/grant/otel", scope.Scope.Name)
			for _, instrument := range scope.Metrics {
				assert.NotEmpty(t, instrument.Unit, instrument.Name)
				assert.NotEmpty(t, instrument.Description, instrument.Name)
				add(t, values, instrument)
			}
		}
		return values
	}, registration.Unregister
}

func add(t *testing.T, values map[string]float64, instrument metricdata.Metrics) {
	put := func(attributes attribute.Set, value float64) {
		name := instrument.Name
		for _, label := range attributes.ToSlice() {
			name += " " + string(label.Key) + "=" + label.Value.AsString()
		}
		assert.NotContains(t, values, name)
		values[name] = value
	}
	switch data := instrument.Data.(type) {
	case metricdata.Sum[int64]:
		assert.True(t, data.IsMonotonic, instrument.Name)
		for _, point := range data.DataPoints {
			put(point.Attributes, float64(point.Value))
		}
	case metricdata.Sum[float64]:
		assert.True(t, data.IsMonotonic, instrument.Name)
		assert.Equal(t, "s", instrument.Unit)
		for _, point := range data.DataPoints {
			put(point.Attributes, point.Value)
		}
	case metricdata.Gauge[int64]:
		for _, point := range data.DataPoints {
			put(point.Attributes, float64(point.Value))
		}
	default:
		t.Errorf("%s: %T", instrument.Name, data)
	}
}

// discard is a Sender that takes every mail.
type discard struct{}

func (discard) Send(context.Context, mail.Message) error { return nil }

// TestEveryCountIsObserved: each value is what Counts of its part says.
func TestEveryCountIsObserved(t *testing.T) {
	backend := store.NewMeteredBackend(memstore.New())
	hasher, err := password.New(password.Config{Memory: 8, Iterations: 1})
	require.NoError(t, err)
	queue, err := mail.NewQueue(mail.Config{Sender: discard{}})
	require.NoError(t, err)
	kit := middlewaretest.New(t, middlewaretest.Config{
		Backend: backend, Store: func(config *store.Config) { config.Passwords = hasher },
	})
	read, unregister := register(t, oauthsvotel.Config{
		Server: kit.Server, Verifier: kit.Issuer.Verifier(), Hasher: hasher, Backend: backend, Mails: queue,
	})
	before := read()

	account := kit.Account("ann")
	_, err = kit.Server.Password(t.Context(), grant.PasswordRequest{Username: "ann", Password: "wrong"})
	require.Error(t, err)
	token := kit.Token(account).AccessToken
	for range 3 {
		_, err = kit.Issuer.Verifier().Verify(t.Context(), token)
		require.NoError(t, err)
	}
	_, err = kit.Issuer.Verifier().Verify(t.Context(), "garbage")
	require.Error(t, err)
	require.NoError(t, kit.Accounts.Ping(t.Context()))
	require.NoError(t, queue.Enqueue(func(context.Context) (*store.Mail, error) { return nil, errors.New("no mail") }))
	require.NoError(t, queue.Close(t.Context()))
	require.Error(t, queue.Enqueue(nil))

	got := read()
	assert.Len(t, got, len(before), "each value is there from the beginning")
	want := make(map[string]float64)
	for eventType, count := range kit.Server.Counts() {
		want["oauthsv.events type="+string(eventType)] = float64(count)
	}
	for method, counts := range backend.Counts() {
		want["oauthsv.store.calls method="+method] = float64(counts.Calls)
		want["oauthsv.store.errors method="+method] = float64(counts.Errors)
		want["oauthsv.store.call method="+method] = counts.Time.Seconds()
	}
	hashes, mails := hasher.Counts(), queue.Counts()
	for name, value := range map[string]float64{
		"oauthsv.token.verifications cache=hit":       2,
		"oauthsv.token.verifications cache=miss":      2,
		"oauthsv.token.refusals":                      1,
		"oauthsv.password.hashes":                     2, // of the new account, and of the login
		"oauthsv.password.refusals reason=overloaded": 0,
		"oauthsv.password.refusals reason=gone":       0,
		"oauthsv.password.wait":                       hashes.WaitTime.Seconds(),
		"oauthsv.password.hash":                       hashes.HashTime.Seconds(),
		"oauthsv.password.waiting":                    0,
		"oauthsv.password.running":                    0,
		"oauthsv.mails result=sent":                   0,
		"oauthsv.mails result=failed":                 float64(mails.Failed),
		"oauthsv.mails result=dropped":                1,
		"oauthsv.mail.retries":                        float64(mails.Retried),
		"oauthsv.mails.waiting":                       0,
	} {
		want[name] = value
	}
	assert.Equal(t, want, got)
	assert.EqualValues(t, 1, got["oauthsv.events type=login_failed"])
	assert.EqualValues(t, 1, got["oauthsv.store.calls method=Ping"])
	assert.Positive(t, got["oauthsv.password.hash"])

	require.NoError(t, unregister())
	assert.Empty(t, read(), "nothing is observed any more")
}

// TestRemoteVerifierIsObserved, with the fetches of its keys.
func TestRemoteVerifierIsObserved(t *testing.T) {
	issuer := httptest.NewServer(http.NotFoundHandler())
	defer issuer.Close()
	verifier, err := tokens.NewRemoteVerifier(tokens.RemoteConfig{URL: issuer.URL, Issuer: issuer.URL})
	require.NoError(t, err)
	defer verifier.Close()
	read, _ := register(t, oauthsvotel.Config{Remote: verifier})
	require.Eventually(t, func() bool { return verifier.Counts().FetchFailures == 1 }, time.Minute, time.Millisecond)
	_, err = verifier.Verify(t.Context(), "garbage")
	require.Error(t, err)
	assert.Equal(t, map[string]float64{
		"oauthsv.token.verifications cache=hit": 0, "oauthsv.token.verifications cache=miss": 1, "oauthsv.token.refusals": 1,
		"oauthsv.key.fetches result=succeeded": 0, "oauthsv.key.fetches result=failed": 1,
	}, read())
}

// TestOnlyNamedPartsAreObserved: none has no instruments.
func TestOnlyNamedPartsAreObserved(t *testing.T) {
	read, _ := register(t, oauthsvotel.Config{})
	assert.Empty(t, read())
	_, err := oauthsvotel.Register(oauthsvotel.Config{Verifier: new(tokens.Verifier), Remote: new(tokens.RemoteVerifier)})
	assert.ErrorContains(t, err, "cannot both be set")
}
