package store_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// TestConfigurationBounds checks the last value that is taken and the first that is refused.
// The error names the field.
func TestConfigurationBounds(t *testing.T) {
	throttle := func(throttle store.Throttle) store.Config { return store.Config{Throttle: throttle} }
	codes := func(codes store.Codes) store.Config { return store.Config{Codes: codes} }
	minLength := func(n int) store.Config {
		return store.Config{PasswordPolicy: store.PasswordPolicy{MinLength: n}}
	}
	for _, test := range []struct {
		field         string
		taken, refuse []store.Config
	}{
		{
			"RefreshTTL",
			[]store.Config{{RefreshTTL: time.Second}, {RefreshTTL: 1 << 62}},
			[]store.Config{{RefreshTTL: time.Second - 1}, {RefreshTTL: store.Off}},
		}, {
			"SessionTTL",
			[]store.Config{{SessionTTL: time.Second}, {SessionTTL: store.Off}, {SessionTTL: -time.Hour}, {SessionTTL: 1 << 62}},
			[]store.Config{{SessionTTL: time.Second - 1}, {SessionTTL: 1}},
		}, {
			"ReuseInterval",
			[]store.Config{{ReuseInterval: time.Minute}, {ReuseInterval: 1}, {ReuseInterval: store.Off}},
			[]store.Config{{ReuseInterval: time.Minute + 1}},
		}, {
			"LostReplyWindow",
			[]store.Config{{LostReplyWindow: 1}, {LostReplyWindow: 1 << 62}, {LostReplyWindow: store.Off}},
			nil,
		}, {
			"MaxSessions",
			[]store.Config{{MaxSessions: 1}, {MaxSessions: 1000}},
			[]store.Config{{MaxSessions: 1001}, {MaxSessions: -1}},
		}, {
			"CacheTTL",
			[]store.Config{{CacheTTL: 1}},
			[]store.Config{{CacheTTL: -1}},
		}, {
			"CacheGrace",
			[]store.Config{{CacheTTL: time.Minute, CacheGrace: 1}, {CacheGrace: time.Minute}},
			[]store.Config{{CacheTTL: time.Minute, CacheGrace: -1}},
		}, {
			"CacheSize",
			[]store.Config{{CacheTTL: time.Minute, CacheSize: 1}},
			[]store.Config{{CacheTTL: time.Minute, CacheSize: -1}},
		}, {
			"Throttle.FreeFailures",
			[]store.Config{throttle(store.Throttle{FreeFailures: 1}), throttle(store.Throttle{FreeFailures: -1})},
			nil,
		}, {
			"Throttle.FirstWait",
			[]store.Config{
				throttle(store.Throttle{FirstWait: 1}), throttle(store.Throttle{FirstWait: 15 * time.Minute}),
				throttle(store.Throttle{FirstWait: time.Minute, MaxWait: time.Minute}),
			},
			[]store.Config{
				throttle(store.Throttle{FirstWait: -1}), throttle(store.Throttle{FirstWait: 15*time.Minute + 1}),
				throttle(store.Throttle{FirstWait: time.Minute, MaxWait: time.Minute - 1}),
			},
		}, {
			"Throttle.MaxWait",
			[]store.Config{throttle(store.Throttle{MaxWait: 24 * time.Hour}), throttle(store.Throttle{MaxWait: time.Second})},
			[]store.Config{throttle(store.Throttle{MaxWait: 24*time.Hour + 1}), throttle(store.Throttle{MaxWait: time.Second - 1})},
		}, {
			"Throttle.HardCap",
			[]store.Config{throttle(store.Throttle{HardCap: 1}), throttle(store.Throttle{HardCap: 1, FreeFailures: 1})},
			[]store.Config{throttle(store.Throttle{HardCap: -1}), throttle(store.Throttle{HardCap: 1, FreeFailures: -1})},
		}, {
			"Throttle.AddressFailures",
			[]store.Config{throttle(store.Throttle{AddressFailures: 1}), throttle(store.Throttle{AddressFailures: -1})},
			nil,
		}, {
			"Throttle.AddressPending",
			[]store.Config{throttle(store.Throttle{AddressPending: 1}), throttle(store.Throttle{AddressPending: -1})},
			nil,
		}, {
			"PasswordPolicy.MinLength",
			[]store.Config{minLength(8), minLength(256)},
			[]store.Config{minLength(7), minLength(257), minLength(-1)},
		}, {
			"Codes.TTL",
			[]store.Config{codes(store.Codes{TTL: time.Minute}), codes(store.Codes{TTL: 24 * time.Hour})},
			[]store.Config{codes(store.Codes{TTL: time.Minute - 1}), codes(store.Codes{TTL: 24*time.Hour + 1}), codes(store.Codes{TTL: -1})},
		}, {
			"Codes.MailsTo",
			[]store.Config{codes(store.Codes{MailsTo: 1})},
			[]store.Config{codes(store.Codes{MailsTo: -1})},
		}, {
			"Codes.MailsFrom",
			[]store.Config{codes(store.Codes{MailsFrom: 1}), codes(store.Codes{MailsFrom: -1})},
			nil,
		}, {
			"RegistrationDomains[1]",
			[]store.Config{{RegistrationDomains: []string{"example.org", "localhost"}}},
			[]store.Config{
				{RegistrationDomains: []string{"example.org", ""}}, {RegistrationDomains: []string{"example.org", "@"}},
				{RegistrationDomains: []string{"example.org", "a b"}}, {RegistrationDomains: []string{"example.org", "example.org."}},
				{RegistrationDomains: []string{"example.org", ".org"}}, {RegistrationDomains: []string{"example.org", "x@example.org"}},
			},
		},
	} {
		t.Run(test.field, func(t *testing.T) {
			for _, config := range append([]store.Config{{}}, test.taken...) {
				config.Backend = memstore.New()
				_, err := store.NewAccounts(config)
				assert.NoError(t, err)
			}
			for _, config := range test.refuse {
				config.Backend = memstore.New()
				_, err := store.NewAccounts(config)
				assert.ErrorContains(t, err, test.field)
			}
		})
	}
}

func TestConfigurationErrorsNameEachField(t *testing.T) {
	_, err := store.NewAccounts(store.Config{
		RefreshTTL: time.Millisecond, SessionTTL: time.Millisecond, ReuseInterval: time.Hour, MaxSessions: -1,
		Codes: store.Codes{TTL: -1}, RegistrationDomains: []string{"@"},
	})
	for _, field := range []string{"Backend", "RefreshTTL", "SessionTTL", "ReuseInterval", "MaxSessions", "Codes.TTL", "RegistrationDomains[0]"} {
		assert.ErrorContains(t, err, field)
	}
	assert.NotContains(t, err.Error(), "\n")
}

// TestZeroMeansTheDocumentedDefault checks the defaults that no other test meets.
func TestZeroMeansTheDocumentedDefault(t *testing.T) {
	k := newThrottled(t, store.Throttle{})
	for i := range 33 {
		state, err := k.StartSession(t.Context(), k.account, store.NewSession{ClientID: "app"})
		require.NoError(t, err)
		assert.Equal(t, i == 32, len(state.Evicted) == 1, "MaxSessions is 32")
	}

	synctest.Test(t, func(t *testing.T) {
		k := newThrottled(t, store.Throttle{})
		k.hasher.hold = make(chan struct{})
		results := make(chan error)
		for i := range 17 {
			go func() { results <- k.login(fmt.Sprint("name", i), "guess", other) }()
		}
		synctest.Wait()
		assert.Equal(t, int64(16), k.hasher.asked.Load(), "AddressPending is 16")
		assert.ErrorIs(t, <-results, store.ErrUnavailable)
		close(k.hasher.hold)
		for range 16 {
			assert.ErrorIs(t, <-results, store.ErrCredentials)
		}
	})
}

func TestClockIsTheRealOneByDefault(t *testing.T) {
	accounts, err := store.NewAccounts(store.Config{Backend: memstore.New(), Passwords: &plainHasher{}})
	require.NoError(t, err)
	account, err := accounts.Create(t.Context(), store.NewAccount{Name: "ada", Email: "ada@example.org", NoPassword: true})
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), account.Created, time.Minute)
}
