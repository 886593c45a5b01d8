package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// lossyBackend loses the reply to one write, which is done all the same. It either says so,
// or it asks again by itself, as a backend does that repeats the call.
type lossyBackend struct {
	store.Backend
	lose    int // which of the next writes: 1 is the next one
	written int // since lose was set
	settles bool
}

func (b *lossyBackend) loseNext(n int, settles bool) { b.lose, b.written, b.settles = n, 0, settles }

func (b *lossyBackend) write(do func() error) error {
	b.written++
	if b.written != b.lose {
		return do()
	}
	err := do()
	switch {
	case err != nil:
		return err
	case b.settles:
		return do()
	}
	return fmt.Errorf("%w: the reply to write %d was lost", store.ErrUnavailable, b.lose)
}

func (b *lossyBackend) Create(ctx context.Context, account *store.Account) error {
	if b.settles { // a backend knows the account that it has written
		b.written++
		return b.Backend.Create(ctx, account)
	}
	return b.write(func() error { return b.Backend.Create(ctx, account) })
}

func (b *lossyBackend) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	return b.write(func() error { return b.Backend.Update(ctx, id, change) })
}

func (b *lossyBackend) Delete(ctx context.Context, id store.ID) error {
	if b.settles { // a backend knows that it has removed the account
		b.written++
		return b.Backend.Delete(ctx, id)
	}
	return b.write(func() error { return b.Backend.Delete(ctx, id) })
}

func (b *lossyBackend) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	return b.write(func() error { return b.Backend.UpdateRecord(ctx, key, now, change) })
}

// TestLostRepliesInTheLifeOfAnAccount loses the reply to each write of each call. The call
// succeeds, or returns an outage and can be repeated. The change is done once either way.
func TestLostRepliesInTheLifeOfAnAccount(t *testing.T) {
	email := "other@example.org"
	pass := newSecret
	for name, test := range map[string]struct {
		// prepare returns the call, of the account "ada" with the password secret.
		prepare func(t *testing.T, k *lifeKit, id store.ID) func() error
		// repeated is the only error of a call that was done before, if it has one.
		repeated error
		done     func(t *testing.T, k *lifeKit, id store.ID)
		mails    []store.MailKind
	}{
		"confirm registration": {
			func(t *testing.T, k *lifeKit, _ store.ID) func() error {
				code := k.registrationCode(t, "grace", "grace@example.org")
				return func() error { _, err := k.confirm(t, code, ""); return err }
			},
			store.ErrCode,
			func(t *testing.T, k *lifeKit, _ store.ID) { assert.True(t, k.passwordIs(t, "grace", secret)) },
			nil,
		},
		"confirm reset": {
			func(t *testing.T, k *lifeKit, _ store.ID) func() error {
				code := k.resetCode(t, "ada@example.org")
				return func() error { return k.reset(t, code) }
			},
			store.ErrCode,
			func(t *testing.T, k *lifeKit, id store.ID) {
				assert.True(t, k.passwordIs(t, "ada", newSecret))
				assert.Empty(t, k.find(t, id).Sessions)
			},
			[]store.MailKind{store.MailPasswordChanged},
		},
		"confirm e-mail": {
			func(t *testing.T, k *lifeKit, id store.ID) func() error {
				code := k.emailCode(t, id, email)
				return func() error { return k.ConfirmEmailChange(t.Context(), id, code) }
			},
			store.ErrCode,
			func(t *testing.T, k *lifeKit, id store.ID) {
				assert.Equal(t, email, k.find(t, id).Email)
				assert.Len(t, k.find(t, id).Sessions, 1)
			},
			[]store.MailKind{store.MailEmailChanged},
		},
		"change password": {
			func(t *testing.T, k *lifeKit, id store.ID) func() error {
				return func() error { return k.changePassword(t.Context(), id, secret, newSecret) }
			},
			store.ErrCredentials,
			func(t *testing.T, k *lifeKit, id store.ID) {
				assert.True(t, k.passwordIs(t, "ada", newSecret))
				assert.Len(t, k.find(t, id).Sessions, 1, "one session starts, and the old one has ended")
			},
			[]store.MailKind{store.MailPasswordChanged},
		},
		"remove": {
			func(t *testing.T, k *lifeKit, id store.ID) func() error {
				return func() error { return k.RemoveWithPassword(t.Context(), id, secret) }
			},
			store.ErrNotFound,
			func(t *testing.T, k *lifeKit, id store.ID) {
				_, err := k.FindByID(t.Context(), id)
				assert.ErrorIs(t, err, store.ErrNotFound)
			},
			nil,
		},
		"Change of e-mail": {
			func(t *testing.T, k *lifeKit, id store.ID) func() error {
				return func() error { return changing(store.Changes{Email: &email})(t, k, id) }
			},
			nil,
			func(t *testing.T, k *lifeKit, id store.ID) { assert.Equal(t, email, k.find(t, id).Email) },
			[]store.MailKind{store.MailEmailChanged},
		},
		"Change of password": {
			func(t *testing.T, k *lifeKit, id store.ID) func() error {
				return func() error { return changing(store.Changes{Password: &pass})(t, k, id) }
			},
			nil,
			func(t *testing.T, k *lifeKit, id store.ID) {
				assert.True(t, k.passwordIs(t, "ada", newSecret))
				assert.Empty(t, k.find(t, id).Sessions)
			},
			[]store.MailKind{store.MailPasswordChanged},
		},
	} {
		for _, settles := range []bool{false, true} {
			for lose := 1; ; lose++ {
				backend := &lossyBackend{Backend: memstore.New()}
				k := newLifeKit(t, store.Config{Backend: backend})
				account := k.create(t, "ada")
				k.login(t, account)
				call := test.prepare(t, k, account.ID)
				backend.loseNext(lose, settles)
				err := call()
				if backend.written < lose {
					require.Greater(t, lose, 1, "the call writes something")
					break
				}
				backend.loseNext(0, false)
				t.Run(fmt.Sprintf("%s, write %d, settled: %v", name, lose, settles), func(t *testing.T) {
					if settles {
						require.NoError(t, err)
						assert.Equal(t, test.mails, kindsOf(k.deliver(t)), "the owner is told once")
					}
					if err != nil {
						require.ErrorIs(t, err, store.ErrUnavailable, "the caller can try again")
						if err := call(); err != nil {
							require.ErrorIs(t, err, test.repeated)
						}
					}
					test.done(t, k, account.ID)
				})
			}
		}
	}
}

// TestLostRepliesOfStarts loses the reply to each write of a start and of its mail. A mail
// that was worked on twice has a code that works, and once.
func TestLostRepliesOfStarts(t *testing.T) {
	for lose := 1; ; lose++ {
		backend := &lossyBackend{Backend: memstore.New()}
		k := newLifeKit(t, store.Config{Backend: backend, Codes: store.Codes{MailsFrom: 20}})
		account := k.create(t, "ada")
		k.login(t, account)
		backend.loseNext(lose, false)
		start := func() error { return k.StartPasswordReset(t.Context(), "ada@example.org", "192.0.2.1") }
		err := start()
		if err != nil {
			require.ErrorIs(t, err, store.ErrUnavailable)
			require.Empty(t, k.waiting)
			require.NoError(t, start())
		}
		work := k.take()
		require.Len(t, work, 1)
		mail, err := work[0](t.Context())
		if err != nil {
			require.ErrorIs(t, err, store.ErrUnavailable, "the Mailer tries again")
			mail, err = work[0](t.Context())
			require.NoError(t, err)
		}
		if backend.written < lose {
			require.Greater(t, lose, 3, "two counts and a code are written")
			return
		}
		backend.loseNext(0, false)
		require.NoError(t, k.reset(t, mail.Code))
		require.ErrorIs(t, k.reset(t, mail.Code), store.ErrCode)
	}
}
