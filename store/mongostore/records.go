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
	// Unknown holds members that newer versions of this package have added.
	Unknown map[string]any `bson:",inline"`
}

// garbageAge is how long after its expiry a record is removed. The clocks of servers differ:
// without this time, one that is ahead would remove records that others still use.
const garbageAge = time.Hour

// UpdateRecord is as [store.Backend] says. It handles lost replies, a missing majority and
// concurrent writes as [Store.Update] does. But it returns an error of change at once,
// without waiting for a majority. Only ErrUnchanged waits for one.
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
	u := recordUpdate{Store: s, writer: w, key: key, now: now, change: change, inherited: written}
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

	inherited *record // what the call before this one wrote; nil once it is used
	written   *record // what this call wrote
	removed   bool    // whether the server has said that this call removed the record
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

// read returns the current record, or nil if there is none.
func (u *recordUpdate) read(ctx context.Context) (*record, error) {
	if inherited := u.inherited; inherited != nil {
		u.inherited = nil
		return inherited, nil // nobody else uses this copy
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

// write inserts, replaces or removes the record, if it is still as it was read.
func (u *recordUpdate) write(ctx context.Context, current, next *record) (done bool, err error) {
	if current == nil {
		_, err := u.records.InsertOne(ctx, next)
		if mongo.IsDuplicateKeyError(err) {
			return false, nil // another call was first
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
		copied.Value = slices.Clone(next.Value)                        // the caller may change its own later
		copied.Expires = next.Expires.UTC().Truncate(time.Millisecond) // as the server would return it
		u.written = &copied
	}
	return done
}

const (
	reapEvery  = 32
	reapAtOnce = 64
)

// reap removes expired records if the server does not. It does so once in reapEvery calls,
// and removes up to twice as many records as those calls could have added. If it fails, a
// later call tries again.
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
