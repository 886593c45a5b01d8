package mongostore_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/readpref"
	"go.mongodb.org/mongo-driver/mongo/writeconcern"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mongostore"
)

// connect returns the database that a connection string names, without a Store.
func connect(t *testing.T, uri string, settings ...*options.DatabaseOptions) *mongo.Database {
	t.Helper()
	return connectWith(t, uri, options.Client(), settings...)
}

func connectWith(t *testing.T, uri string, client *options.ClientOptions, settings ...*options.DatabaseOptions) *mongo.Database {
	t.Helper()
	connected, err := mongo.Connect(t.Context(), client.ApplyURI(uri))
	require.NoError(t, err)
	t.Cleanup(func() { _ = connected.Disconnect(t.Context()) })
	name := uri[strings.LastIndex(uri, "/")+1:]
	name, _, _ = strings.Cut(name, "?")
	return connected.Database(name, settings...)
}

func TestDocumentsReadWell(t *testing.T) {
	uri := mongotest.URI(t)
	backend := open(t, uri)
	accounts, err := store.NewAccounts(store.Config{Backend: backend})
	require.NoError(t, err)
	created, err := accounts.Create(t.Context(), store.NewAccount{Name: "Ada", Email: "Ada@Example.org", Password: "nine-kettles-sing-at-noon", Groups: []string{"g"}})
	require.NoError(t, err)
	_, err = accounts.StartSession(t.Context(), created, store.NewSession{ClientID: "app"})
	require.NoError(t, err)

	var document bson.Raw
	require.NoError(t, connect(t, uri).Collection("accounts").FindOne(t.Context(), bson.D{{Key: "name", Value: "ada"}}).Decode(&document))
	types := map[string]string{}
	elements, err := document.Elements()
	require.NoError(t, err)
	for _, element := range elements {
		types[element.Key()] = element.Value().Type.String()
	}
	assert.Equal(t, map[string]string{
		"_id": "objectID", "name": "string", "email": "string", "email_key": "string", "password_hash": "string",
		"groups": "array", "disabled": "boolean", "created": "UTC datetime", "modified": "UTC datetime",
		"last_action": "UTC datetime", "sessions": "array", "version": "64-bit integer", "credentials_version": "64-bit integer", "format": "32-bit integer",
	}, types)
	t.Logf("an account with one session takes %d bytes", len(document))
	for i := range 9 {
		_, err = accounts.StartSession(t.Context(), created, store.NewSession{ClientID: fmt.Sprint("app", i)})
		require.NoError(t, err)
	}
	require.NoError(t, connect(t, uri).Collection("accounts").FindOne(t.Context(), bson.D{{Key: "name", Value: "ada"}}).Decode(&document))
	t.Logf("with ten sessions %d bytes", len(document))
}

func TestOpenIsIdempotent(t *testing.T) {
	uri := mongotest.URI(t)
	for range 3 {
		require.NoError(t, open(t, uri).Ping(t.Context()))
	}
}

func TestForeignIndexesAreReported(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		collection string
		index      mongo.IndexModel
		refused    bool
	}{
		"name not unique":        {"accounts", mongo.IndexModel{Keys: bson.D{{Key: "name", Value: 1}}}, true},
		"other key, our name":    {"accounts", mongo.IndexModel{Keys: bson.D{{Key: "phone", Value: 1}}, Options: options.Index().SetName("email_key_1").SetUnique(true)}, true},
		"sparse":                 {"accounts", mongo.IndexModel{Keys: bson.D{{Key: "email_key", Value: 1}}, Options: options.Index().SetUnique(true).SetSparse(true)}, true},
		"other name, same index": {"accounts", mongo.IndexModel{Keys: bson.D{{Key: "name", Value: 1}}, Options: options.Index().SetUnique(true).SetName("mine")}, false},
		"unrelated":              {"accounts", mongo.IndexModel{Keys: bson.D{{Key: "phone", Value: 1}}}, false},
		"compound":               {"accounts", mongo.IndexModel{Keys: bson.D{{Key: "name", Value: 1}, {Key: "phone", Value: 1}}}, false},
		"groups alone":           {"accounts", mongo.IndexModel{Keys: bson.D{{Key: "groups", Value: 1}}}, false},
		"groups sparse":          {"accounts", mongo.IndexModel{Keys: bson.D{{Key: "groups", Value: 1}, {Key: "_id", Value: 1}}, Options: options.Index().SetSparse(true)}, false},
		"groups downwards":       {"accounts", mongo.IndexModel{Keys: bson.D{{Key: "groups", Value: 1}, {Key: "_id", Value: -1}}}, false},
		"other key, our groups":  {"accounts", mongo.IndexModel{Keys: bson.D{{Key: "phone", Value: 1}}, Options: options.Index().SetName("groups_1__id_1")}, false},
		"other TTL":              {"expiring_records", mongo.IndexModel{Keys: bson.D{{Key: "expires", Value: 1}}, Options: options.Index().SetExpireAfterSeconds(1)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			uri := mongotest.URI(t)
			created, err := connect(t, uri).Collection(test.collection).Indexes().CreateOne(t.Context(), test.index)
			require.NoError(t, err)
			var log bytes.Buffer
			backend, err := mongostore.Open(t.Context(), uri, mongostore.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if !test.refused {
				require.NoError(t, err)
				require.NoError(t, backend.Close())
				assert.Equal(t, name == "other TTL" || name == "groups sparse" || name == "other key, our groups", strings.Contains(log.String(), "level=WARN"), log.String())
				return
			}
			require.Error(t, err)
			assert.Contains(t, err.Error(), created)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

// withoutExpiry gives the records an index without expiry, as on a server that refuses TTL indexes.
func withoutExpiry(t *testing.T, uri string) *mongo.Collection {
	t.Helper()
	records := connect(t, uri).Collection("expiring_records")
	_, err := records.Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: bson.D{{Key: "expires", Value: 1}}})
	require.NoError(t, err)
	return records
}

// TestReaping checks that this process removes expired records if the server does not.
func TestReaping(t *testing.T) {
	uri := mongotest.URI(t)
	records := withoutExpiry(t, uri)
	backend := open(t, uri)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	count := func() int64 {
		count, err := records.CountDocuments(t.Context(), bson.D{})
		require.NoError(t, err)
		return count
	}
	write := func(key string, now time.Time) {
		require.NoError(t, backend.UpdateRecord(t.Context(), key, now, func(r *store.Record) error {
			r.Value, r.Expires = []byte("x"), now.Add(time.Minute)
			return nil
		}))
	}
	for i := range 40 {
		write(fmt.Sprint("old", i), now)
	}
	require.Equal(t, int64(40), count())
	for range 64 {
		write("one", now.Add(time.Minute+time.Hour))
	}
	require.Equal(t, int64(41), count(), "expired for an hour and not yet garbage")
	for range 64 {
		write("one", now.Add(time.Minute+time.Hour+time.Millisecond))
	}
	assert.Equal(t, int64(1), count())
}

func TestSettingsOfTheDatabase(t *testing.T) {
	uri := mongotest.URI(t)
	var log bytes.Buffer
	config := mongostore.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	_, err := mongostore.New(t.Context(), connect(t, uri, options.Database().SetWriteConcern(writeconcern.Unacknowledged())), config)
	assert.ErrorContains(t, err, "w=0")
	for _, wrong := range []mongostore.Config{{Timeout: -1}, {IndexTimeout: -1}} {
		_, err = mongostore.New(t.Context(), connect(t, uri), wrong)
		assert.ErrorContains(t, err, "Timeout")
	}

	backend, err := mongostore.New(t.Context(), connect(t, uri, options.Database().SetReadPreference(readpref.Nearest())), config)
	require.NoError(t, err)
	assert.Equal(t, 1, strings.Count(log.String(), "read_preference=nearest"))
	require.NoError(t, backend.Close(), "the connection is not ours")
	assert.NoError(t, backend.Ping(t.Context()))

	journal := true
	_, err = mongostore.New(t.Context(), connect(t, uri, options.Database().SetWriteConcern(&writeconcern.WriteConcern{Journal: &journal})), config)
	assert.NoError(t, err)
}

func TestOpenRefusesURI(t *testing.T) {
	for _, uri := range []string{
		"", "localhost", "http://localhost/db", "mongodb://", "mongodb://localhost", "mongodb://localhost/", "mongodb://localhost/?x=y",
		"mongodb://user:hunter2@localhost/%zz", "mongodb://user:hunter2@localhost/db?timeoutMS=soon",
	} {
		_, err := mongostore.Open(t.Context(), uri, mongostore.Config{})
		require.Error(t, err, uri)
		assert.NotContains(t, err.Error(), "hunter2")
		assert.NotContains(t, err.Error(), "\n")
	}
}

// TestUnreachable checks an address where nobody listens, and one where somebody listens but
// never answers.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	silent := listener.Addr().String()
	defer listener.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	for _, address := range []string{silent, closed.Addr().String()} {
		uri := "mongodb://user:hunter2@" + address + "/db?directConnection=true&serverSelectionTimeoutMS=300"
		_, err := mongostore.Open(t.Context(), uri, mongostore.Config{})
		require.Error(t, err)
		assert.ErrorContains(t, err, "the server does not answer")
		assert.ErrorContains(t, err, address)
		assert.NotContains(t, err.Error(), "hunter2")
		assert.NotContains(t, err.Error(), "closing the connections", "they were closed")
		assert.False(t, errors.Is(err, store.ErrNotFound))
	}
}

// TestUnreachableByDefault checks that Open fails soon, although building an index may take
// long.
func TestUnreachableByDefault(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	begin := time.Now()
	_, err = mongostore.Open(t.Context(), "mongodb://"+listener.Addr().String()+"/db", mongostore.Config{IndexTimeout: 2 * time.Hour})
	assert.ErrorContains(t, err, "the server does not answer")
	assert.Less(t, time.Since(begin), 10*time.Second)
}
