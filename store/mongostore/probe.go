package mongostore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/bson"
)

const (
	// probeRounds is how many races there are. The driver opens its connections one by
	// one, so in the first rounds fewer calls run at once.
	probeRounds = 8
	// probeCalls is how many calls replace one version at once. If a server compares
	// first and writes later, nearly all of them succeed.
	probeCalls = 16
	// probeAge is when the document expires, in case this process is killed before it
	// removes the document.
	probeAge = time.Minute
)

// probe tests, on a document of its own, whether the server compares and replaces in one
// step. The whole package depends on that. If a server told two writers that both were
// first, a refresh could undo the disabling of the account, or the end of the session, that
// ran at the same time.
func (s *Store) probe(ctx context.Context) (err error) {
	document := record{Key: "probe:" + rand.Text(), Expires: time.Now().Add(probeAge), Version: newVersion()}
	if _, err := s.records.InsertOne(ctx, document); err != nil {
		return fmt.Errorf("testing how the server replaces documents: %w", err)
	}
	defer func() {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
		defer cancel()
		_, removeError := s.records.DeleteOne(cleanup, bson.D{{Key: "_id", Value: document.Key}})
		if err == nil && removeError != nil {
			err = fmt.Errorf("removing the document of the test of the server: %w", removeError)
		}
	}()
	for range probeRounds {
		winner, err := s.race(ctx, document)
		if err != nil {
			return err
		}
		document.Version = winner
	}
	return nil
}

// race replaces one version of a document many times at once. Exactly one call must succeed,
// and race returns the version that this call wrote.
func (s *Store) race(ctx context.Context, document record) (winner int64, err error) {
	var winners, latest atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, probeCalls)
	for i := range probeCalls {
		all.Go(func() {
			filter := bson.D{{Key: "_id", Value: document.Key}, {Key: "version", Value: document.Version}}
			next := document
			next.Version = newVersion()
			result, err := s.records.ReplaceOne(ctx, filter, next)
			if errs[i] = err; err == nil && result.MatchedCount > 0 {
				winners.Add(1)
				latest.Store(next.Version)
			}
		})
	}
	all.Wait()
	if winners.Load() > 1 || winners.Load() == 0 && errors.Join(errs...) == nil {
		return 0, fmt.Errorf("with this server a revoked session could come back: %d calls replaced one version of a document at once and %d of them succeeded, but exactly 1 must; servers that do not compare and replace in one step, such as FerretDB v1, cannot be used", probeCalls, winners.Load())
	}
	for _, err := range errs {
		if err != nil {
			return 0, fmt.Errorf("testing how the server replaces documents: %w", err)
		}
	}
	return latest.Load(), nil
}
