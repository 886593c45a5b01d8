package bench

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// noMails is a Mailer that does no work, so that only the answer is measured.
type noMails struct{}

func (noMails) Enqueue(func(context.Context) (*store.Mail, error)) error { return nil }

// BenchmarkStartTimes reports the median time of each start of a registration and of a
// password reset. They must be alike for known and unknown addresses: else the time tells
// which addresses have an account. 200 tries each:
//
//	go test -run '^$' -bench StartTimes -benchtime 200x .
func BenchmarkStartTimes(b *testing.B) {
	accounts, err := store.NewAccounts(store.Config{
		Backend: memstore.New(), Mailer: noMails{}, Codes: store.Codes{MailsTo: 1 << 40, MailsFrom: -1},
	})
	require.NoError(b, err)
	_, err = accounts.Create(b.Context(), store.NewAccount{Name: "known", Email: "known@example.org", NoPassword: true})
	require.NoError(b, err)
	off, err := accounts.Create(b.Context(), store.NewAccount{Name: "disabled", Email: "disabled@example.org", NoPassword: true})
	require.NoError(b, err)
	require.NoError(b, accounts.Disable(b.Context(), off.ID))

	for _, start := range []struct {
		name string
		call func(address string) error
	}{
		{"registration", func(address string) error {
			return accounts.StartRegistration(b.Context(), store.Registration{Name: "new", Email: address, Address: "192.0.2.1"})
		}},
		{"reset", func(address string) error { return accounts.StartPasswordReset(b.Context(), address, "192.0.2.1") }},
	} {
		for _, who := range []string{"known", "unknown", "disabled"} {
			b.Run(start.name+"_"+who, func(b *testing.B) {
				var times []time.Duration
				for b.Loop() {
					began := time.Now()
					err := start.call(who + "@example.org")
					times = append(times, time.Since(began))
					if err != nil {
						b.Fatal(err)
					}
				}
				slices.Sort(times)
				b.ReportMetric(float64(times[len(times)/2].Nanoseconds()), "median-ns")
			})
		}
	}
}
