package faulttest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mongostore"
)

func together(n int, work func(i int) error) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = work(i) })
	}
	all.Wait()
	return errs
}

func openFar(t *testing.T, milliseconds int, config mongostore.Config) *mongostore.Store {
	t.Helper()
	p := newProxy(t, mongotest.URI(t))
	t.Cleanup(p.proxy.Stop)
	backend, err := mongostore.Open(t.Context(), p.uri, config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = backend.Close() })
	p.latency(milliseconds)
	return backend
}

// TestManyUpdatesOfOneRecord checks that calls that write the same record take turns, so that
// none of them spends its own time on waiting.
func TestManyUpdatesOfOneRecord(t *testing.T) {
	const callers = 100
	backend := openFar(t, 5, mongostore.Config{Timeout: time.Second})
	account := blank("ada")
	require.NoError(t, backend.Create(t.Context(), account))
	now := time.Now()
	for name, update := range map[string]func(i int) error{
		"account": func(i int) error {
			return backend.Update(t.Context(), account.ID, func(a *store.Account) error {
				a.Groups = append(a.Groups, fmt.Sprint(i))
				return nil
			})
		},
		"key": func(int) error {
			return backend.UpdateRecord(t.Context(), "key", now, func(r *store.Record) error {
				r.Value, r.Expires = append(r.Value, 'x'), now.Add(time.Hour)
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			begin, succeeded := time.Now(), 0
			for _, err := range together(callers, update) {
				if assert.NoError(t, err) {
					succeeded++
				}
			}
			t.Logf("%d of %d succeeded in %v", succeeded, callers, time.Since(begin).Round(time.Millisecond))
		})
	}
	found, err := backend.FindByID(t.Context(), account.ID)
	require.NoError(t, err)
	assert.Len(t, found.Groups, callers)
}

// TestWaitingEnds checks that a waiting caller gives up when its context ends, or after some
// time if that does not end. A caller that gives up does not block the others.
func TestWaitingEnds(t *testing.T) {
	backend := openFar(t, 0, mongostore.Config{Timeout: timeout / 2})
	account := blank("ada")
	require.NoError(t, backend.Create(t.Context(), account))

	inside, goOn := make(chan struct{}), make(chan struct{})
	var holder sync.WaitGroup
	holder.Go(func() {
		first := true
		assert.Error(t, backend.Update(t.Context(), account.ID, func(*store.Account) error {
			if first {
				first = false
				close(inside)
				<-goOn
			}
			return nil
		}), "its own time is over")
	})
	<-inside
	ran := func(*store.Account) error { t.Error("the turn has not come"); return nil }
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(timeout/10, cancel)
	begin := time.Now()
	err := backend.Update(ctx, account.ID, ran)
	assert.ErrorIs(t, err, store.ErrUnavailable)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Less(t, time.Since(begin), timeout/2)

	err = backend.Update(t.Context(), account.ID, ran)
	assert.ErrorIs(t, err, store.ErrUnavailable)
	assert.Less(t, time.Since(begin), 4*timeout)
	other := blank("grace")
	require.NoError(t, backend.Create(t.Context(), other))
	assert.NoError(t, backend.Update(t.Context(), other.ID, func(*store.Account) error { return nil }), "nobody waits for another's account")

	close(goOn)
	holder.Wait()
	assert.NoError(t, backend.Update(t.Context(), account.ID, func(*store.Account) error { return nil }))
}
