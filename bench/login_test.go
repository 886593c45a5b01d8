package bench

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// BenchmarkFailedLogin reports the median time of each way in which a login fails.
// They must be alike: else the time tells which names exist. 200 tries each:
//
//	go test -run '^$' -bench FailedLogin -benchtime 200x .
func BenchmarkFailedLogin(b *testing.B) {
	accounts, err := store.NewAccounts(store.Config{
		Backend: memstore.New(), Throttle: store.Throttle{FreeFailures: -1, AddressFailures: -1},
	})
	require.NoError(b, err)
	create := func(account store.NewAccount) *store.Account {
		account.Email = account.Name + "@example.org"
		created, err := accounts.Create(b.Context(), account)
		require.NoError(b, err)
		return created
	}
	create(store.NewAccount{Name: "known", Password: rootPassword})
	create(store.NewAccount{Name: "robot", NoPassword: true})
	create(store.NewAccount{Name: "unreadable", PasswordHash: "$6$salt$hash"})
	create(store.NewAccount{Name: "cheaper", PasswordHash: "$2a$04$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"})
	create(store.NewAccount{Name: "dearer", PasswordHash: "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"})
	disabled := create(store.NewAccount{Name: "disabled", Password: rootPassword})
	require.NoError(b, accounts.Disable(b.Context(), disabled.ID))

	for _, test := range []struct{ name, username, password string }{
		{"unknown_name", "nobody", "wrong"},
		{"unknown_e-mail", "nobody@example.org", "wrong"},
		{"wrong_password", "known", "wrong"},
		{"disabled,_right", "disabled", rootPassword},
		{"disabled,_wrong", "disabled", "wrong"},
		{"no_password", "robot", "wrong"},
		{"hash_of_no_known_scheme", "unreadable", "wrong"},
		{"cheaper_hash,_bcrypt_4", "cheaper", "wrong"},
		{"dearer_hash,_bcrypt_10", "dearer", "wrong"}, // shows, see password.Config.OldHash
	} {
		b.Run(test.name, func(b *testing.B) {
			var times []time.Duration
			for b.Loop() {
				start := time.Now()
				_, err := accounts.Login(b.Context(), store.Login{
					Username: test.username, Password: test.password, Address: "192.0.2.1", Session: store.NewSession{ClientID: "app"},
				})
				times = append(times, time.Since(start))
				if !errors.Is(err, store.ErrCredentials) {
					b.Fatal(err)
				}
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "median-µs")
		})
	}
}
