package password_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store/password"
)

// TestHasherCountsItsTurns: one runs, one waits, one is refused, one gives up.
func TestHasherCountsItsTurns(t *testing.T) {
	hasher, err := password.New(password.Config{
		Memory: 8, Iterations: 1, MaxMemory: 8, Budget: 8, MaxWaiting: 1,
	})
	require.NoError(t, err)
	assert.Zero(t, hasher.Counts())
	hash, err := hasher.Hash(t.Context(), "a password")
	require.NoError(t, err)
	first := hasher.Counts()
	assert.EqualValues(t, 1, first.Done)
	assert.Positive(t, first.HashTime)
	assert.Zero(t, first.Waiting+first.Running+first.Refused+first.GivenUp)

	// A turn lasts as long as the look-up of the stored hash.
	looking, found := make(chan struct{}), make(chan struct{})
	done := make(chan error, 2)
	go func() {
		_, _, err := hasher.Verify(t.Context(), "a password", func() (string, error) {
			close(looking)
			<-found
			return hash, nil
		})
		done <- err
	}()
	<-looking
	counts := hasher.Counts()
	assert.EqualValues(t, 1, counts.Running)
	assert.EqualValues(t, 1, counts.Done)

	waiting, giveUp := context.WithCancel(t.Context())
	go func() {
		_, err := hasher.Hash(waiting, "b")
		done <- err
	}()
	require.Eventually(t, func() bool { return hasher.Counts().Waiting == 1 }, time.Minute, time.Millisecond)
	_, err = hasher.Hash(t.Context(), "c")
	require.ErrorIs(t, err, password.ErrOverloaded)
	counts = hasher.Counts()
	assert.EqualValues(t, 1, counts.Refused)
	assert.EqualValues(t, 1, counts.Waiting, "who is refused does not wait")
	giveUp()
	require.ErrorIs(t, <-done, context.Canceled)
	assert.Positive(t, hasher.Counts().WaitTime)

	close(found)
	require.NoError(t, <-done)
	counts = hasher.Counts()
	assert.Greater(t, counts.HashTime, first.HashTime)
	counts.HashTime, counts.WaitTime = 0, 0
	assert.Equal(t, password.Counts{Done: 2, Refused: 1, GivenUp: 1}, counts)
}

// TestTurnThatFailsIsOver: nothing runs after a look-up that failed.
func TestTurnThatFailsIsOver(t *testing.T) {
	hasher, err := password.New(password.Config{Memory: 8, Iterations: 1})
	require.NoError(t, err)
	_, _, err = hasher.Verify(t.Context(), "a password", func() (string, error) { return "", context.DeadlineExceeded })
	require.Error(t, err)
	counts := hasher.Counts()
	assert.Zero(t, counts.Running)
	assert.EqualValues(t, 1, counts.Done)
}
