package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// workBackend notes what it is asked to do, in order: the method, and of records the kind.
type workBackend struct {
	store.Backend
	work []string
}

func (b *workBackend) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	b.work = append(b.work, "FindByID")
	return b.Backend.FindByID(ctx, id)
}

func (b *workBackend) FindByName(ctx context.Context, name string) (*store.Account, error) {
	b.work = append(b.work, "FindByName")
	return b.Backend.FindByName(ctx, name)
}

func (b *workBackend) FindByEmail(ctx context.Context, emailKey string) (*store.Account, error) {
	b.work = append(b.work, "FindByEmail")
	return b.Backend.FindByEmail(ctx, emailKey)
}

func (b *workBackend) Create(ctx context.Context, account *store.Account) error {
	b.work = append(b.work, "Create")
	return b.Backend.Create(ctx, account)
}

func (b *workBackend) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	b.work = append(b.work, "Update")
	return b.Backend.Update(ctx, id, change)
}

func (b *workBackend) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	kind, _, _ := strings.Cut(key, ":")
	b.work = append(b.work, "UpdateRecord "+kind)
	return b.Backend.UpdateRecord(ctx, key, now, change)
}

// TestStartDoesTheSameWorkForEveryAddress checks what is done before the answer. It is the
// same, in the same order, whether the address is known or not, so the time of the answer
// does not tell. What differs is done later, by the Mailer.
func TestStartDoesTheSameWorkForEveryAddress(t *testing.T) {
	addresses := map[string]string{
		"known": "ada@example.org", "known in capitals": "ADA@EXAMPLE.ORG", "disabled": "off@example.org",
		"without a password": "robot@example.org", "the caller's own": "me@example.org",
		"unknown": "nobody@example.org", "of an unknown domain": "x@nowhere.invalid",
	}
	for kind, test := range map[string]struct {
		start func(k *kit, me store.ID, address string) error
		want  []string
	}{
		"registration": {
			func(k *kit, _ store.ID, address string) error {
				return k.StartRegistration(context.Background(), store.Registration{Name: "x", Email: address, Address: "192.0.2.1"})
			},
			[]string{"UpdateRecord mail", "UpdateRecord mail"},
		},
		"reset": {
			func(k *kit, _ store.ID, address string) error {
				return k.StartPasswordReset(context.Background(), address, "192.0.2.1")
			},
			[]string{"UpdateRecord mail", "UpdateRecord mail"},
		},
		"e-mail change": {
			func(k *kit, me store.ID, address string) error {
				return k.StartEmailChange(context.Background(), me, store.EmailChange{Email: address, CurrentPassword: secret, Address: "192.0.2.1"})
			},
			[]string{"UpdateRecord login", "FindByID", "UpdateRecord mail", "UpdateRecord mail"},
		},
	} {
		for which, address := range addresses {
			t.Run(kind+", "+which, func(t *testing.T) {
				backend := &workBackend{Backend: memstore.New()}
				box := &outbox{}
				k := newKit(t, store.Config{Backend: backend, Mailer: box})
				me := k.create(t, "me")
				k.create(t, "ada")
				require.NoError(t, k.Disable(t.Context(), k.create(t, "off").ID))
				_, err := k.Create(t.Context(), store.NewAccount{Name: "robot", Email: "robot@example.org", NoPassword: true})
				require.NoError(t, err)
				for range 3 {
					backend.work = nil
					require.NoError(t, test.start(k, me.ID, address))
					assert.Equal(t, test.want, backend.work)
					assert.Len(t, box.take(), 1, "the Mailer has one piece of work")
				}
				backend.work = nil
				require.ErrorIs(t, test.start(k, me.ID, address), store.ErrThrottled)
				assert.Equal(t, test.want, backend.work)
				assert.Empty(t, box.take())
			})
		}
	}
}
