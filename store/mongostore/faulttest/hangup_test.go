package faulttest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mongostore"
)

// TestHangUpsKeepConnections checks that a caller who hangs up closes no connection of the
// pool, so that the next caller need not open a new one.
func TestHangUpsKeepConnections(t *testing.T) {
	const callers, rounds = 16, 40
	k := newWireKit(t, mongotest.URI(t), mongostore.Config{})
	account := blank("ada")
	require.NoError(t, k.backend.Create(t.Context(), account))
	// A reply takes longer than every second caller waits.
	k.hooks.Store(&hooks{reply: func(_, _ *message) { time.Sleep(2 * time.Millisecond) }})
	find := func(ctx context.Context) error {
		_, err := k.backend.FindByID(ctx, account.ID)
		return err
	}
	for _, err := range together(2*callers, func(int) error { return find(t.Context()) }) {
		require.NoError(t, err)
	}
	warm := k.opened.Load()
	var hungUp atomic.Int64
	together(callers, func(i int) error {
		for range rounds {
			ctx, cancel := context.WithCancel(t.Context())
			timer := time.AfterFunc(time.Millisecond, func() { hungUp.Add(1); cancel() })
			_ = find(ctx)
			timer.Stop()
			cancel()
		}
		return nil
	})
	opened := k.opened.Load() - warm
	t.Logf("%d calls, %d hung up, %d connections opened", callers*rounds, hungUp.Load(), opened)
	assert.Positive(t, hungUp.Load())
	assert.LessOrEqual(t, opened, int64(callers), "the pool may still grow to the number of callers, and no further")
}

// TestHangUpFinishesTheCall checks that a call that has begun does its work. A call whose
// caller has already hung up does not begin.
func TestHangUpFinishesTheCall(t *testing.T) {
	k := newWireKit(t, mongotest.URI(t), mongostore.Config{})
	account := blank("ada")
	require.NoError(t, k.backend.Create(t.Context(), account))
	ctx, cancel := context.WithCancel(t.Context())
	disable := func(a *store.Account) error {
		cancel()
		a.Disabled = true
		return nil
	}
	assert.NoError(t, k.backend.Update(ctx, account.ID, disable))
	found, err := k.direct.FindByID(t.Context(), account.ID)
	require.NoError(t, err)
	assert.True(t, found.Disabled)
	assert.ErrorIs(t, k.backend.Update(ctx, account.ID, disable), store.ErrUnavailable)
	_, err = k.backend.FindByID(ctx, account.ID)
	assert.ErrorIs(t, err, context.Canceled)
}

// TestCallersDeadline checks that an earlier deadline of the caller ends the call.
func TestCallersDeadline(t *testing.T) {
	k := newWireKit(t, mongotest.URI(t), mongostore.Config{Timeout: 20 * timeout})
	k.hooks.Store(&hooks{reply: func(_, _ *message) { time.Sleep(timeout) }})
	ctx, cancel := context.WithTimeout(t.Context(), timeout/10)
	defer cancel()
	begin := time.Now()
	_, err := k.backend.FindByName(ctx, "ada")
	assert.ErrorIs(t, err, store.ErrUnavailable)
	assert.Less(t, time.Since(begin), timeout)
}
