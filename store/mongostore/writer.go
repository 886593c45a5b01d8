package mongostore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"

	"github.com/oauthsv/oauthsv/store"
)

// writer is the state of one call that writes until it is sure of the outcome.
type writer struct {
	caller   context.Context // may end the pauses
	versions []int64         // of the writes that were tried
	attempts int
	lost     int // how many of them got no answer, or one that is not understood
}

const (
	// maxLost bounds how often a write is sent whose replies are lost, or that the
	// server refuses for a reason that is not known here. That no majority has a
	// write is known, and waited for until the deadline.
	maxLost = 3

	// The longest pause between two tries: where others write the same record, and
	// where the server lacks a majority.
	contentionPause = 20 * time.Millisecond
	majorityPause   = 100 * time.Millisecond
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

// run tries until the call is done or its time is over. An error of a try that is
// not done says why it must be repeated; nil means that somebody else wrote
// meanwhile.
func (w *writer) run(ctx context.Context, try func() (done bool, err error)) error {
	for {
		done, err := try()
		if done {
			return err
		}
		longest := contentionPause
		switch {
		case err == nil:
			err = errContention
		case lacksMajority(err):
			longest = majorityPause
		default:
			if w.lost++; w.lost >= maxLost {
				return unavailable("writing", err)
			}
		}
		w.attempts++
		if over := w.pause(ctx, longest); over != nil {
			return unavailable("writing", fmt.Errorf("%w; %w", err, over))
		}
	}
}

// pause waits a random while, longer with each attempt, so that those who write
// the same record come apart.
func (w *writer) pause(ctx context.Context, longest time.Duration) error {
	timer := time.NewTimer(rand.N(min(time.Millisecond<<min(w.attempts, 10), longest)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-w.caller.Done():
		return w.caller.Err()
	}
}

// confirm makes sure that a majority has a document in the version that was read.
// A read alone shows too what only the primary has, and what a failover would undo.
// The write changes nothing, and the server answers it when a majority has all that
// came before it. matched is false if somebody else wrote meanwhile.
func confirm(ctx context.Context, collection *mongo.Collection, id any, version int64) (matched bool, err error) {
	result, err := collection.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: id}, {Key: "version", Value: version}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "version", Value: version}}}})
	return err == nil && result.MatchedCount > 0, err
}

// confirmAbsent makes sure that a majority knows of the removal of a document that
// a read has not found. It is a write that matches nothing.
func confirmAbsent(ctx context.Context, collection *mongo.Collection, id any) error {
	_, err := confirm(ctx, collection, id, newVersion())
	return err
}

// lacksMajority tells whether the server has done a write and cannot say that a
// majority has it.
func lacksMajority(err error) bool {
	failed := mongo.WriteException{}
	return errors.As(err, &failed) && failed.WriteConcernError != nil && len(failed.WriteErrors) == 0
}

// mayHaveRemoved tells whether a deletion that failed may have been done. Where the
// server lacks a majority it says so; where the reply was lost nobody knows.
func mayHaveRemoved(err error) (maybe, surely bool) {
	failed := mongo.WriteException{}
	if !errors.As(err, &failed) {
		return true, false
	}
	count, known := failed.Raw.Lookup("n").AsInt64OK()
	surely = known && count > 0 && len(failed.WriteErrors) == 0
	return surely, surely
}

// unlessUnchanged is the answer to an error of a change function.
func unlessUnchanged(err error) error {
	if errors.Is(err, store.ErrUnchanged) {
		return nil
	}
	return err
}
