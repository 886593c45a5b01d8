package mongostore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
)

// index is one that the store needs.
type index struct {
	collection *mongo.Collection
	field      string
	unique     bool
	ttl        bool
}

func (i *index) name() string { return i.field + "_1" } // as the server would call it

// ensureIndexes creates what is missing. An index that is there with other
// properties is never dropped: on it may depend what this package does not know.
func (s *Store) ensureIndexes(ctx context.Context, logger *slog.Logger) error {
	for _, needed := range []index{
		{collection: s.accounts, field: "name", unique: true},
		{collection: s.accounts, field: "email_key", unique: true},
		{collection: s.records, field: "expires", ttl: true},
	} {
		there, err := s.findIndex(ctx, needed)
		if err != nil && needed.ttl && !errors.Is(err, errListIndexes) {
			logger.Warn("expired records may stay longer, or go sooner, than they should", "error", err)
			continue
		}
		if err != nil {
			return err
		}
		if there {
			continue
		}
		err = s.createIndex(ctx, needed)
		if refused := (mongo.CommandError{}); needed.ttl && errors.As(err, &refused) {
			logger.Warn("the server refuses TTL indexes: this process removes expired records by itself", "error", err)
			s.reaps = true
			needed.ttl = false
			err = s.createIndex(ctx, needed)
		}
		if err != nil {
			return fmt.Errorf("creating index %s of collection %s: %w", needed.name(), needed.collection.Name(), err)
		}
	}
	return nil
}

func (s *Store) createIndex(ctx context.Context, needed index) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	properties := options.Index().SetName(needed.name())
	if needed.unique {
		properties.SetUnique(true)
	}
	if needed.ttl {
		properties.SetExpireAfterSeconds(int32(garbageAge / time.Second))
	}
	_, err := needed.collection.Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys: bson.D{{Key: needed.field, Value: 1}}, Options: properties,
	})
	return err
}

// foundIndex is an index as the server lists it.
type foundIndex struct {
	Name               string   `bson:"name"`
	Key                bson.Raw `bson:"key"`
	Unique             bool     `bson:"unique"`
	Sparse             bool     `bson:"sparse"`
	ExpireAfterSeconds *float64 `bson:"expireAfterSeconds"`
	PartialFilter      bson.Raw `bson:"partialFilterExpression"`
	Collation          bson.Raw `bson:"collation"`
}

var errListIndexes = errors.New("listing the indexes")

// findIndex compares by itself: not every server reports a conflict.
func (s *Store) findIndex(ctx context.Context, needed index) (there bool, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	cursor, err := needed.collection.Indexes().List(ctx)
	var found []foundIndex
	if err == nil {
		err = cursor.All(ctx, &found)
	}
	if missing := (mongo.CommandError{}); errors.As(err, &missing) && missing.HasErrorCode(codeNamespaceNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w of collection %s: %w", errListIndexes, needed.collection.Name(), err)
	}
	for _, other := range found {
		onField := onlyKey(other.Key, needed.field)
		if !onField && other.Name != needed.name() {
			continue
		}
		same := onField && other.Unique == needed.unique && !other.Sparse && other.PartialFilter == nil && other.Collation == nil
		if needed.ttl {
			s.reaps = other.ExpireAfterSeconds == nil
			same = same && (s.reaps || *other.ExpireAfterSeconds == garbageAge.Seconds())
		}
		if !same {
			return false, fmt.Errorf("index %s of collection %s exists with other properties than the store needs; drop it, or rename the collection, and start again", other.Name, needed.collection.Name())
		}
		return true, nil
	}
	return false, nil
}

const codeNamespaceNotFound = 26

func onlyKey(keys bson.Raw, field string) bool {
	elements, err := keys.Elements()
	if err != nil || len(elements) != 1 || elements[0].Key() != field {
		return false
	}
	direction, isNumber := elements[0].Value().AsInt64OK()
	return isNumber && direction == 1
}
