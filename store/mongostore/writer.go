package mongostore

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/oauthsv/oauthsv/store"
)

// writer is the state of one call that writes until it is sure of the outcome.
type writer struct {
	versions []int64 // of the writes that were tried
	attempts int
	lost     int // how many of them got no answer
}

const (
	maxAttempts = 3
	// maxLost bounds how often a write is sent whose replies are lost, or that the
	// server refuses for a reason that is not known here.
	maxLost = 3
)

var errContention = errors.New("too many others write the same record")

func newVersion() int64 { return rand.Int64() }

func (w *writer) next() int64 {
	version := newVersion()
	w.versions = append(w.versions, version)
	return version
}

func (w *writer) mine(version int64) bool {
	return slices.Contains(w.versions, version)
}

// retry returns nil if the write is to be tried again, after a pause. Others who
// write the same record are waited for until the deadline.
func (w *writer) retry(ctx context.Context, err error) error {
	if err != nil {
		if w.lost++; w.lost >= maxLost {
			return unavailable("writing", err)
		}
	}
	w.attempts++
	return pause(ctx, w.attempts)
}

// pause waits a random while, longer with each attempt, so that those who write
// the same record come apart.
func pause(ctx context.Context, attempt int) error {
	longest := min(time.Millisecond<<min(attempt, 5), 20*time.Millisecond)
	timer := time.NewTimer(rand.N(longest))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return unavailable("writing", errors.Join(errContention, ctx.Err()))
	}
}

// unlessUnchanged is the answer to an error of a change function.
func unlessUnchanged(err error) error {
	if errors.Is(err, store.ErrUnchanged) {
		return nil
	}
	return err
}
