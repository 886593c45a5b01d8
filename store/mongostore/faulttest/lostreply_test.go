package faulttest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mongostore"
)

// TestLostReplyIsSettled checks a write whose reply is lost. The call finds out by itself
// that the write was done, and returns as if the reply had come.
func TestLostReplyIsSettled(t *testing.T) {
	uri := mongotest.URI(t)
	p := newProxy(t, uri)
	t.Cleanup(p.proxy.Stop)
	open := func(uri string) *mongostore.Store {
		backend, err := mongostore.Open(t.Context(), uri, mongostore.Config{Timeout: 20 * time.Second})
		require.NoError(t, err)
		t.Cleanup(func() { _ = backend.Close() })
		return backend
	}
	direct, proxied := open(uri), open(p.uri)
	ctx := context.WithoutCancel(t.Context())

	// healOnce heals the network as soon as the server shows the write.
	healOnce := func(written func() bool) *sync.WaitGroup {
		var watch sync.WaitGroup
		watch.Go(func() {
			for !written() {
			}
			p.heal()
		})
		return &watch
	}
	account := &store.Account{ID: store.NewID(), Name: "ada", EmailKey: "ada@example.org"}
	find := func() (*store.Account, error) { return direct.FindByID(ctx, account.ID) }

	t.Run("create", func(t *testing.T) {
		p.limit("downstream", 1)
		watch := healOnce(func() bool { _, err := find(); return err == nil })
		assert.NoError(t, proxied.Create(ctx, account))
		watch.Wait()
	})
	t.Run("update", func(t *testing.T) {
		var watch *sync.WaitGroup
		runs := 0
		require.NoError(t, proxied.Update(ctx, account.ID, func(a *store.Account) error {
			if runs++; runs == 1 {
				p.limit("downstream", 1)
				watch = healOnce(func() bool { found, err := find(); return err == nil && found.Phone != "" })
			}
			a.Phone += "1"
			return nil
		}))
		watch.Wait()
		found, err := find()
		require.NoError(t, err)
		assert.Equal(t, "1", found.Phone)
		assert.Equal(t, 1, runs)
	})
	t.Run("delete", func(t *testing.T) {
		p.limit("downstream", 1)
		watch := healOnce(func() bool { _, err := find(); return err != nil })
		assert.NoError(t, proxied.Delete(ctx, account.ID))
		watch.Wait()
		assert.ErrorIs(t, proxied.Delete(ctx, account.ID), store.ErrNotFound)
	})
}
