package mongostore

import (
	"context"
	"errors"
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
}

// garbageAge is how long after its expiry a record is removed. Until then it only
// takes room; the slack keeps a clock that is ahead from removing what others
// still count on.
const garbageAge = time.Hour

// UpdateRecord is as [store.Backend] says. Lost replies are settled as in
// [Store.Update].
func (s *Store) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var w writer
	for {
		var current record
		err := s.records.FindOne(ctx, bson.D{{Key: "_id", Value: key}}).Decode(&current)
		found := err == nil
		if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
			return unavailable("reading a record", err)
		}
		if found && w.mine(current.Version) {
			break
		}
		var value store.Record
		if found && now.Before(current.Expires) {
			value = store.Record{Value: current.Value, Expires: current.Expires}
		}
		if err := change(&value); err != nil {
			return unlessUnchanged(err)
		}
		if len(value.Value) == 0 && !found {
			break
		}
		done, err := s.writeRecord(ctx, found, current.Version, record{key, value.Value, value.Expires, w.next()})
		if done {
			break
		}
		if mongo.IsDuplicateKeyError(err) {
			err = nil // another was first
		}
		if err := w.retry(ctx, err); err != nil {
			return err
		}
	}
	s.reap(ctx, now)
	return nil
}

// writeRecord inserts, replaces or removes, if the record is still as it was read.
func (s *Store) writeRecord(ctx context.Context, found bool, version int64, next record) (done bool, err error) {
	filter := bson.D{{Key: "_id", Value: next.Key}, {Key: "version", Value: version}}
	switch {
	case len(next.Value) == 0:
		result, err := s.records.DeleteOne(ctx, filter)
		return err == nil && result.DeletedCount > 0, err
	case !found:
		_, err := s.records.InsertOne(ctx, next)
		return err == nil, err
	}
	result, err := s.records.ReplaceOne(ctx, filter, next)
	return err == nil && result.MatchedCount > 0, err
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
