package faulttest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mongostore"
)

// wireKit is an account service behind a wireProxy. direct is a store over the same database
// without the proxy.
type wireKit struct {
	*wireProxy
	backend  *mongostore.Store
	accounts *store.Accounts
	direct   *mongostore.Store
}

func newWireKit(t *testing.T, uri string, config mongostore.Config) *wireKit {
	t.Helper()
	k := &wireKit{wireProxy: newWireProxy(t, uri)}
	open := func(uri string, config mongostore.Config) *mongostore.Store {
		backend, err := mongostore.Open(t.Context(), uri, config)
		require.NoError(t, err)
		t.Cleanup(func() { _ = backend.Close() })
		return backend
	}
	k.direct, k.backend = open(uri, mongostore.Config{}), open(k.uri, config)
	k.accounts = middlewaretest.New(t, middlewaretest.Config{Backend: k.backend, Now: time.Now}).Accounts
	return k
}

func blank(name string) *store.Account {
	return &store.Account{ID: store.NewID(), Name: name, Email: name + "@example.org", EmailKey: name + "@example.org"}
}

// write is one kind of write. prepare runs before any fault. It returns the call, and a check
// that the call was done once.
type write struct {
	name    string
	prepare func(*testing.T, *wireKit) (call func(context.Context) error, done func(*testing.T))
}

// writes are all kinds of writes, through the account service and without it.
var writes = []write{
	{"accounts: create", func(t *testing.T, k *wireKit) (func(context.Context) error, func(*testing.T)) {
		return func(ctx context.Context) error {
				_, err := k.accounts.Create(ctx, store.NewAccount{Name: "new", Email: "new@example.org", NoPassword: true})
				return err
			}, func(t *testing.T) {
				_, err := k.direct.FindByName(t.Context(), "new")
				assert.NoError(t, err)
			}
	}},
	onSession("accounts: refresh", func(ctx context.Context, k *wireKit, ref store.SessionRef) error {
		_, err := k.accounts.RefreshSession(ctx, ref, store.Lifetimes{})
		return err
	}, func(t *testing.T, found *store.Account) { assert.Equal(t, int64(2), found.Sessions[0].Generation) }),
	onSession("accounts: end a session", func(ctx context.Context, k *wireKit, ref store.SessionRef) error {
		return k.accounts.EndSession(ctx, ref.AccountID, ref.SessionID)
	}, func(t *testing.T, found *store.Account) { assert.Empty(t, found.Sessions) }),
	onSession("accounts: set the password", func(ctx context.Context, k *wireKit, ref store.SessionRef) error {
		return k.accounts.SetPassword(ctx, ref.AccountID, "ten-lanterns-drift-by-dusk")
	}, func(t *testing.T, found *store.Account) { assert.NotEmpty(t, found.PasswordHash) }),
	onSession("accounts: disable", func(ctx context.Context, k *wireKit, ref store.SessionRef) error {
		return k.accounts.Disable(ctx, ref.AccountID)
	}, func(t *testing.T, found *store.Account) { assert.True(t, found.Disabled) }),
	onSession("accounts: remove", func(ctx context.Context, k *wireKit, ref store.SessionRef) error {
		return k.accounts.Remove(ctx, ref.AccountID)
	}, nil),
	{"bare: create", func(t *testing.T, k *wireKit) (func(context.Context) error, func(*testing.T)) {
		account := blank("new")
		return func(ctx context.Context) error { return k.backend.Create(ctx, account) }, func(t *testing.T) {
			_, err := k.direct.FindByID(t.Context(), account.ID)
			assert.NoError(t, err)
		}
	}},
	onSession("bare: update", func(ctx context.Context, k *wireKit, ref store.SessionRef) error {
		return k.backend.Update(ctx, ref.AccountID, func(a *store.Account) error { a.Phone += "1"; return nil })
	}, func(t *testing.T, found *store.Account) { assert.Equal(t, "1", found.Phone) }),
	onSession("bare: nothing to write", func(ctx context.Context, k *wireKit, ref store.SessionRef) error {
		return k.backend.Update(ctx, ref.AccountID, func(a *store.Account) error { return store.ErrUnchanged })
	}, func(*testing.T, *store.Account) {}),
	onSession("bare: delete", func(ctx context.Context, k *wireKit, ref store.SessionRef) error {
		return k.backend.Delete(ctx, ref.AccountID)
	}, nil),
	onRecord("bare: add a record", "", func(r *store.Record) error { r.Value = append(r.Value, '1'); return nil }, "1"),
	onRecord("bare: change a record", "0", func(r *store.Record) error { r.Value = append(r.Value, '1'); return nil }, "01"),
	onRecord("bare: remove a record", "0", func(r *store.Record) error { r.Value = nil; return nil }, ""),
	onRecord("bare: leave a record", "0", func(r *store.Record) error { return store.ErrUnchanged }, "0"),
	onRecord("bare: leave no record", "", func(r *store.Record) error { return store.ErrUnchanged }, ""),
}

// onSession is a write to an account with one session. If check is nil, the account must not
// exist afterwards.
func onSession(name string, call func(context.Context, *wireKit, store.SessionRef) error, check func(*testing.T, *store.Account)) write {
	return write{name, func(t *testing.T, k *wireKit) (func(context.Context) error, func(*testing.T)) {
		account, err := k.accounts.Create(t.Context(), store.NewAccount{Name: "ada", Email: "ada@example.org", NoPassword: true})
		require.NoError(t, err)
		state, err := k.accounts.StartSession(t.Context(), account, store.NewSession{ClientID: "app"})
		require.NoError(t, err)
		ref := store.SessionRef{AccountID: account.ID, SessionID: state.Session.ID, Generation: 1}
		return func(ctx context.Context) error { return call(ctx, k, ref) }, func(t *testing.T) {
			found, err := k.direct.FindByID(t.Context(), account.ID)
			if check == nil {
				assert.ErrorIs(t, err, store.ErrNotFound)
				return
			}
			require.NoError(t, err)
			check(t, found)
		}
	}}
}

func onRecord(name, before string, change func(*store.Record) error, after string) write {
	return write{name, func(t *testing.T, k *wireKit) (func(context.Context) error, func(*testing.T)) {
		now := time.Now()
		if before != "" {
			require.NoError(t, k.direct.UpdateRecord(t.Context(), "key", now, func(r *store.Record) error {
				r.Value, r.Expires = []byte(before), now.Add(time.Hour)
				return nil
			}))
		}
		return func(ctx context.Context) error {
				return k.backend.UpdateRecord(ctx, "key", now, func(r *store.Record) error {
					r.Expires = now.Add(time.Hour)
					return change(r)
				})
			}, func(t *testing.T) {
				assert.NoError(t, k.direct.UpdateRecord(t.Context(), "key", now, func(r *store.Record) error {
					assert.Equal(t, after, string(r.Value))
					return store.ErrUnchanged
				}))
			}
	}}
}

// TestNoMajorityIsNoSuccess checks that no call succeeds while no majority has its write. A
// second try that finds its work done must not succeed either: a failover could undo it.
func TestNoMajorityIsNoSuccess(t *testing.T) {
	for _, kind := range writes {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			k := newWireKit(t, mongotest.URI(t), mongostore.Config{Timeout: timeout / 2})
			call, _ := kind.prepare(t, k)
			k.failMajority(-1)
			assert.ErrorIs(t, call(t.Context()), store.ErrUnavailable, "the first time")
			assert.ErrorIs(t, call(t.Context()), store.ErrUnavailable, "tried again")
		})
	}
}

// TestMajorityAfterAWhile checks that a call waits for the majority and does its work once.
func TestMajorityAfterAWhile(t *testing.T) {
	for _, kind := range writes {
		t.Run(kind.name, func(t *testing.T) {
			k := newWireKit(t, mongotest.URI(t), mongostore.Config{})
			call, done := kind.prepare(t, k)
			k.failMajority(4)
			assert.NoError(t, call(t.Context()))
			done(t)
		})
	}
}

// TestHangUpEndsTheWaitForAMajority checks a caller who leaves while no majority has the write.
func TestHangUpEndsTheWaitForAMajority(t *testing.T) {
	k := newWireKit(t, mongotest.URI(t), mongostore.Config{Timeout: 20 * time.Second})
	account := blank("ada")
	require.NoError(t, k.backend.Create(t.Context(), account))
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	var writes atomic.Int64
	k.hooks.Store(&hooks{reply: func(request, reply *message) {
		if isWrite(request) {
			reply.lackMajority()
			if writes.Add(1) == 3 {
				hangUp()
			}
		}
	}})
	err := k.backend.Update(ctx, account.ID, func(a *store.Account) error { a.Phone = "1"; return nil })
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorIs(t, err, store.ErrUnavailable)
}

// TestDeletionWithoutMajority checks deletions whose first reply says that no majority has them.
// The second reply says that there is nothing to delete, which is the call's own work or not.
func TestDeletionWithoutMajority(t *testing.T) {
	k := newWireKit(t, mongotest.URI(t), mongostore.Config{})
	account := blank("ada")
	require.NoError(t, k.backend.Create(t.Context(), account))
	k.failMajority(1)
	assert.NoError(t, k.backend.Delete(t.Context(), account.ID))
	k.failMajority(1)
	assert.ErrorIs(t, k.backend.Delete(t.Context(), account.ID), store.ErrNotFound)

	now := time.Now()
	write := func(value string) func(*store.Record) error {
		return func(r *store.Record) error {
			r.Value, r.Expires = []byte(value), now.Add(time.Hour)
			return nil
		}
	}
	for _, test := range []struct {
		name   string
		others []string // what somebody else writes while change runs
	}{{"nobody else", nil}, {"changed", []string{"2"}}} {
		require.NoError(t, k.direct.UpdateRecord(t.Context(), test.name, now, write("1")))
		k.failMajority(1)
		var saw []string
		require.NoError(t, k.backend.UpdateRecord(t.Context(), test.name, now, func(r *store.Record) error {
			saw = append(saw, string(r.Value))
			if n := len(saw); n <= len(test.others) {
				require.NoError(t, k.direct.UpdateRecord(t.Context(), test.name, now, write(test.others[n-1])))
			}
			r.Value = nil
			return nil
		}))
		assert.Equal(t, append([]string{"1"}, test.others...), saw, test.name)
		require.NoError(t, k.direct.UpdateRecord(t.Context(), test.name, now, func(r *store.Record) error {
			assert.Empty(t, r.Value, test.name)
			return store.ErrUnchanged
		}))
	}
}

// TestMajorityNowAndThen checks two processes that write the same account while every third
// write lacks its majority. Each of them does its work exactly once.
func TestMajorityNowAndThen(t *testing.T) {
	const callers = 8
	uri := mongotest.URI(t)
	kits := []*wireKit{newWireKit(t, uri, mongostore.Config{}), newWireKit(t, uri, mongostore.Config{})}
	account := blank("ada")
	require.NoError(t, kits[0].backend.Create(t.Context(), account))
	for _, k := range kits {
		var writes atomic.Int64
		k.hooks.Store(&hooks{reply: func(request, reply *message) {
			if isWrite(request) && writes.Add(1)%3 == 0 {
				reply.lackMajority()
			}
		}})
	}
	for _, err := range together(callers*len(kits), func(i int) error {
		group := fmt.Sprint(i)
		return kits[i%len(kits)].backend.Update(t.Context(), account.ID, func(a *store.Account) error {
			if slices.Contains(a.Groups, group) {
				return store.ErrUnchanged // a write whose outcome was unknown
			}
			a.Groups = append(a.Groups, group)
			return nil
		})
	}) {
		assert.NoError(t, err)
	}
	found, err := kits[0].direct.FindByID(t.Context(), account.ID)
	require.NoError(t, err)
	slices.Sort(found.Groups)
	assert.Len(t, slices.Compact(found.Groups), callers*len(kits))
	assert.Len(t, found.Groups, callers*len(kits))
}
