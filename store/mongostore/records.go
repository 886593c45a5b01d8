package mongostore

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/oauthsv/oauthsv/store"
)

// record is a document of the collection "expiring_records".
type record struct {
	Key     string    `bson:"_id"`
	Value   []byte    `bson:"value"`
	Expires time.Time `bson:"expires"`
	Version int64     `bson:"version"`
	// Unknown is what newer versions of this package have added.
	Unknown map[string]any `bson:",inline"`
}

// garbageAge is how long after its expiry a record is removed. Until then it only
// takes room; the slack keeps a clock that is ahead from removing what others
// still count on.
const garbageAge = time.Hour

// UpdateRecord is as [store.Backend] says. Lost replies, a missing majority and
// others who write the same key are dealt with as in [Store.Update]. An error of
// change is returned without a look at the majority: it promises nothing.
func (s *Store) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	err := s.updateRecord(ctx, key, now, change)
	if err == nil {
		s.reap(ctx, now)
	}
	return err
}

func (s *Store) updateRecord(caller context.Context, key string, now time.Time, change func(*store.Record) error) error {
	written, err := s.recordQueue.enter(caller, key, s.patience())
	if err != nil {
		return unavailable("waiting to write a record", err)
	}
	defer func() { s.recordQueue.leave(key, written) }()
	ctx, cancel, err := s.begin(caller)
	if err != nil {
		return err
	}
	defer cancel()
	w := &writer{caller: caller}
	u := recordUpdate{Store: s, writer: w, key: key, now: now, change: change, left: written}
	written = nil
	err = w.run(ctx, func() (bool, error) { return u.try(ctx) })
	written = u.written
	return err
}

// recordUpdate is one call of UpdateRecord.
type recordUpdate struct {
	*Store
	*writer
	key    string
	now    time.Time
	change func(*store.Record) error

	left    *record // what the call before has written, to begin with
	written *record // what this call has written
	removed bool    // the server has said that this call has removed the record
}

func (u *recordUpdate) try(ctx context.Context) (done bool, err error) {
	if u.removed {
		err := confirmAbsent(ctx, u.records, u.key)
		return err == nil, err
	}
	current, err := u.read(ctx)
	if err != nil {
		return true, err
	}
	if current != nil && u.mine(current.Version) {
		return confirm(ctx, u.records, u.key, current.Version)
	}
	next := record{Key: u.key}
	var value store.Record
	if current != nil && u.now.Before(current.Expires) {
		value = store.Record{Value: current.Value, Expires: current.Expires}
		next.Unknown = current.Unknown
	}
	err = u.change(&value)
	switch {
	case err != nil && !errors.Is(err, store.ErrUnchanged):
		return true, err
	case err != nil && current != nil:
		return confirm(ctx, u.records, u.key, current.Version)
	case err != nil || len(value.Value) == 0 && current == nil:
		err := confirmAbsent(ctx, u.records, u.key)
		return err == nil, err
	}
	next.Value, next.Expires, next.Version = value.Value, value.Expires, u.next()
	return u.write(ctx, current, &next)
}

// read returns nil where there is no record.
func (u *recordUpdate) read(ctx context.Context) (*record, error) {
	if left := u.left; left != nil {
		u.left = nil
		return left, nil // nobody else has it
	}
	found := new(record)
	err := u.records.FindOne(ctx, bson.D{{Key: "_id", Value: u.key}}).Decode(found)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, nil
	}
	if err != nil {
		return nil, unavailable("reading a record", err)
	}
	return found, nil
}

// write inserts, replaces or removes, if the record is still as it was read.
func (u *recordUpdate) write(ctx context.Context, current, next *record) (done bool, err error) {
	if current == nil {
		_, err := u.records.InsertOne(ctx, next)
		if mongo.IsDuplicateKeyError(err) {
			return false, nil // another was first
		}
		return u.wrote(next, err == nil), err
	}
	filter := bson.D{{Key: "_id", Value: u.key}, {Key: "version", Value: current.Version}}
	if len(next.Value) == 0 {
		result, err := u.records.DeleteOne(ctx, filter)
		if err != nil {
			_, u.removed = mayHaveRemoved(err)
			return false, err
		}
		return result.DeletedCount > 0, nil
	}
	result, err := u.records.ReplaceOne(ctx, filter, next)
	return u.wrote(next, err == nil && result.MatchedCount > 0), err
}

func (u *recordUpdate) wrote(next *record, done bool) bool {
	if done {
		copied := *next
		copied.Value = slices.Clone(next.Value)                        // the caller may go on to use its own
		copied.Expires = next.Expires.UTC().Truncate(time.Millisecond) // as the server would give it back
		u.written = &copied
	}
	return done
}

const (
	reapEvery  = 32
	reapAtOnce = 64
)

// reap removes some garbage now and then, where the server does not do so by
// itself: twice as much as the calls in between could have left. What fails is
// left to the next time.
func (s *Store) reap(ctx context.Context, now time.Time) {
	if !s.reaps || s.updates.Add(1)%reapEvery != 0 {
		return
	}
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return
	}
	defer cancel()
	garbage := bson.D{{Key: "expires", Value: bson.D{{Key: "$lt", Value: now.Add(-garbageAge)}}}}
	cursor, err := s.records.Find(ctx, garbage, options.Find().SetLimit(reapAtOnce))
	if err != nil {
		return
	}
	var records []record
	if cursor.All(ctx, &records) != nil {
		return
	}
	for _, old := range records {
		_, _ = s.records.DeleteOne(ctx, bson.D{{Key: "_id", Value: old.Key}, {Key: "version", Value: old.Version}})
	}
}
