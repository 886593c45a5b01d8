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
)

// writer is the state of one call, which tries to write until the outcome is certain.
type writer struct {
	caller   context.Context // its end also ends the pauses
	versions []int64         // those of the writes that were tried
	attempts int
	lost     int // how many attempts got no answer, or an unknown error
}

const (
	// maxLost bounds how often a call sends a write if the replies are lost, or if the
	// server answers with an unknown error. It does not apply while a write lacks a
	// majority: that is waited for until the deadline.
	maxLost = 3

	// The longest pause between two tries, if others write the same record or if the
	// server lacks a majority.
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

// run calls try until the call is done or its time is over. If try is not done, its error
// says why it must be repeated. A nil error then means that somebody else wrote in the
// meantime.
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

// pause waits a random time, which grows with each attempt, so that calls that write the same
// record do not meet again.
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

// confirm makes sure that a majority has the version of a document that was read. A read can
// also return what only the primary has, and a failover can undo that. So confirm sends a
// write that changes nothing. The server answers it once a majority has everything before
// it. matched is false if somebody else wrote in the meantime.
func confirm(ctx context.Context, collection *mongo.Collection, id any, version int64) (matched bool, err error) {
	result, err := collection.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: id}, {Key: "version", Value: version}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "version", Value: version}}}})
	return err == nil && result.MatchedCount > 0, err
}

// confirmAbsent makes sure that a majority has the removal of a document that a read did not
// find. It sends a write that matches nothing.
func confirmAbsent(ctx context.Context, collection *mongo.Collection, id any) error {
	_, err := confirm(ctx, collection, id, newVersion())
	return err
}

// lacksMajority reports whether the server has done a write but cannot say that a majority
// has it.
func lacksMajority(err error) bool {
	failed := mongo.WriteException{}
	return errors.As(err, &failed) && failed.WriteConcernError != nil && len(failed.WriteErrors) == 0
}

// mayHaveRemoved reports whether a deletion that failed may nevertheless have been done. If
// the server lacks a majority, its reply says so, and surely is true. If the reply was lost,
// maybe is true and surely is false.
func mayHaveRemoved(err error) (maybe, surely bool) {
	failed := mongo.WriteException{}
	if !errors.As(err, &failed) {
		return true, false
	}
	count, known := failed.Raw.Lookup("n").AsInt64OK()
	surely = known && count > 0 && len(failed.WriteErrors) == 0
	return surely, surely
}
