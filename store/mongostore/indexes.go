package mongostore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
)

// index is an index that the store needs.
type index struct {
	collection *mongo.Collection
	fields     []string
	unique     bool
	ttl        bool
}

func (i *index) name() string { return strings.Join(i.fields, "_1_") + "_1" } // the name that a server would choose

// onlyFast reports whether the store can do without the index, although lists of a group then
// take long.
func (i *index) onlyFast() bool { return i.fields[0] == "groups" }

// ensureIndexes creates the indexes that are missing. It never drops an index that exists
// with other properties, because other programs may depend on it.
func (s *Store) ensureIndexes(ctx, opening context.Context, config Config) error {
	var missing []index
	for _, needed := range []index{
		{collection: s.accounts, fields: []string{"name"}, unique: true},
		{collection: s.accounts, fields: []string{"email_key"}, unique: true},
		{collection: s.accounts, fields: []string{"groups", "_id"}},
		{collection: s.records, fields: []string{"expires"}, ttl: true},
	} {
		there, err := s.findIndex(opening, needed)
		switch {
		case err != nil && needed.ttl && !errors.Is(err, errListIndexes):
			config.Logger.Warn("expired records may stay longer than they should, or be removed sooner", "error", err)
		case err != nil && needed.onlyFast() && !errors.Is(err, errListIndexes):
			config.Logger.Warn(slowGroups, "error", err)
		case err != nil:
			return err
		case !there:
			missing = append(missing, needed)
		}
	}
	for _, needed := range missing {
		config.Logger.Info("building an index: on a large collection this can take minutes", "collection", needed.collection.Name(), "index", needed.name())
		err := needed.create(ctx, config.IndexTimeout)
		if needed.ttl && isRefusal(err) {
			config.Logger.Warn("the server refuses TTL indexes, so this process removes expired records itself", "error", err)
			s.reaps = true
			needed.ttl = false
			err = needed.create(ctx, config.IndexTimeout)
		}
		if needed.onlyFast() && isRefusal(err) {
			config.Logger.Warn(slowGroups, "error", err)
			needed.fields = needed.fields[:1]
			if err = needed.create(ctx, config.IndexTimeout); isRefusal(err) {
				err = nil
			}
		}
		if err != nil {
			return fmt.Errorf("building index %s of collection %s: %w", needed.name(), needed.collection.Name(), err)
		}
	}
	return nil
}

const slowGroups = "the server has no index on the groups and the id of accounts, so a list of the accounts in a large group can take long"

// isRefusal reports whether the server refuses an index altogether.
func isRefusal(err error) bool {
	refused := mongo.CommandError{}
	return errors.As(err, &refused) && refused.Code != codeMaxTimeExpired
}

func (i *index) create(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	properties := options.Index().SetName(i.name())
	if i.unique {
		properties.SetUnique(true)
	}
	if i.ttl {
		properties.SetExpireAfterSeconds(int32(garbageAge / time.Second))
	}
	var keys bson.D
	for _, field := range i.fields {
		keys = append(keys, bson.E{Key: field, Value: 1})
	}
	_, err := i.collection.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: keys, Options: properties})
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

// findIndex reports whether the index exists. It returns an error if the index has other
// properties: not every server reports such a conflict.
func (s *Store) findIndex(ctx context.Context, needed index) (there bool, err error) {
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
		onFields := hasKeys(other.Key, needed.fields)
		if !onFields && other.Name != needed.name() {
			continue
		}
		same := onFields && other.Unique == needed.unique && !other.Sparse && other.PartialFilter == nil && other.Collation == nil
		if needed.ttl {
			s.reaps = other.ExpireAfterSeconds == nil
			same = same && (s.reaps || *other.ExpireAfterSeconds == garbageAge.Seconds())
		}
		if !same {
			return false, fmt.Errorf("index %s of collection %s has other properties than the store needs; drop the index or rename the collection, and start again", other.Name, needed.collection.Name())
		}
		return true, nil
	}
	return false, nil
}

// Error codes of the server.
const (
	codeNamespaceNotFound = 26
	codeMaxTimeExpired    = 50
)

// hasKeys reports whether the keys of an index are the fields, all in ascending order.
func hasKeys(keys bson.Raw, fields []string) bool {
	elements, err := keys.Elements()
	if err != nil || len(elements) != len(fields) {
		return false
	}
	for i, element := range elements {
		if direction, isNumber := element.Value().AsInt64OK(); element.Key() != fields[i] || !isNumber || direction != 1 {
			return false
		}
	}
	return true
}
