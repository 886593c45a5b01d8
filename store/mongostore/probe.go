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
	// The driver opens its connections bit by bit, so the first rounds are less of a race
	// than the last ones.
	probeRounds = 8
	// probeCalls is how many replaces of one version run at once. A server that
	// compares first and writes later lets nearly all of them win.
	probeCalls = 16
	// probeAge is when the document counts as expired, should this process be
	// killed before it removes it.
	probeAge = time.Minute
)

// probe finds out whether the server compares and replaces in one step, on a
// document of its own. All else in this package rests on that: where two writers
// can both be told that they were first, a refresh undoes the disabling of the
// account, or the end of the session, that ran beside it.
func (s *Store) probe(ctx context.Context) (err error) {
	document := record{Key: "probe:" + rand.Text(), Expires: time.Now().Add(probeAge), Version: newVersion()}
	if _, err := s.records.InsertOne(ctx, document); err != nil {
		return fmt.Errorf("trying out how the server replaces documents: %w", err)
	}
	defer func() {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
		defer cancel()
		_, removeError := s.records.DeleteOne(cleanup, bson.D{{Key: "_id", Value: document.Key}})
		if err == nil && removeError != nil {
			err = fmt.Errorf("removing the document that tried out the server: %w", removeError)
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

// race lets many replace one version at once and returns the version of the only
// one who did.
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
		return 0, fmt.Errorf("of %d calls at once that replace one version of a document %d succeeded, where exactly 1 may, so with this server a revoked session could come back: servers that do not compare and replace in one step, such as FerretDB v1, cannot be used", probeCalls, winners.Load())
	}
	for _, err := range errs {
		if err != nil {
			return 0, fmt.Errorf("trying out how the server replaces documents: %w", err)
		}
	}
	return latest.Load(), nil
}
