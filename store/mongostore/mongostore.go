package mongostore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/readpref"
	"go.mongodb.org/mongo-driver/mongo/writeconcern"

	"github.com/oauthsv/oauthsv/store"
)

// Config configures a [Store]. The zero value is good.
type Config struct {
	// Timeout bounds each call, whatever the context of the caller allows. The
	// default is timeoutMS of the URI, else 2 seconds.
	Timeout time.Duration
	// Logger gets warnings about the server. The default is slog.Default().
	Logger *slog.Logger
}

// Store is a [store.Backend] over MongoDB, or another server of its protocol. It
// is safe for concurrent use. Make it with [Open] or [New].
type Store struct {
	client   *mongo.Client // nil where the caller owns it
	database *mongo.Database
	accounts *mongo.Collection
	records  *mongo.Collection
	timeout  time.Duration

	// reaps says that the server does not remove expired records, so that this
	// process does.
	reaps   bool
	updates atomic.Uint64
}

var _ store.Backend = (*Store)(nil)

// account is a document of the collection "accounts".
type account struct {
	store.Account `bson:",inline"`
	// Version is random and new with each write. It is what writes compare and
	// swap, and how a write whose reply was lost is found again.
	Version int64 `bson:"version"`
}

const (
	accountsName = "accounts"
	recordsName  = "expiring_records"

	defaultTimeout = 2 * time.Second
)

// New makes a Store over a database that the caller has connected to and goes on
// to own. It creates the indexes that are missing, which is the first time that
// the server must answer.
//
// Pool, TLS, write concern, retries and credentials are those of the database. A
// write concern that was not set becomes majority. Accounts are read from the
// primary whatever the read preference is, with a warning if it is another.
func New(ctx context.Context, database *mongo.Database, config Config) (*Store, error) {
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Timeout == 0 {
		config.Timeout = defaultTimeout
		if own := database.Client().Timeout(); own != nil && *own > 0 {
			config.Timeout = *own
		}
	}
	if config.Timeout < 0 {
		return nil, errors.New("mongostore: configuration: Timeout must not be negative")
	}
	concern := database.WriteConcern()
	switch {
	case concern == nil:
		concern = writeconcern.Majority()
	case concern.W == nil: // the journal was asked for, and nothing else
		copied := *concern
		copied.W = writeconcern.Majority().W
		concern = &copied
	}
	if !concern.Acknowledged() {
		return nil, errors.New("mongostore: the write concern is w=0: without an acknowledgement nothing here can be relied on; use majority")
	}
	if preference := database.ReadPreference(); preference != nil && preference.Mode() != readpref.PrimaryMode {
		config.Logger.Warn("accounts are read from the primary all the same: a secondary that lags behind would undo a revocation", "read_preference", preference.Mode().String())
	}
	collection := options.Collection().SetReadPreference(readpref.Primary()).SetWriteConcern(concern)
	s := &Store{
		database: database,
		accounts: database.Collection(accountsName, collection),
		records:  database.Collection(recordsName, collection),
		timeout:  config.Timeout,
	}
	if err := s.ensureIndexes(ctx, config.Logger); err != nil {
		return nil, fmt.Errorf("mongostore: %w", err)
	}
	return s, nil
}

// Close disconnects from the server if Open has connected. It waits for calls
// under way.
func (s *Store) Close() error {
	if s.client == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	return s.client.Disconnect(ctx)
}

// deadline bounds one call. A deadline of the caller's that comes earlier stays;
// without this, one that comes later would silently replace timeoutMS.
func (s *Store) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

// unavailable: whatever the driver says and nobody recognizes is an outage.
func unavailable(what string, err error) error {
	return fmt.Errorf("%w: mongostore: %s: %w", store.ErrUnavailable, what, err)
}

// Ping is as [store.Backend] says. The primary must answer.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	err := s.database.RunCommand(ctx, bson.D{{Key: "ping", Value: 1}}, options.RunCmd().SetReadPreference(readpref.Primary())).Err()
	if err != nil {
		return unavailable("ping", err)
	}
	return nil
}

// FindByID is as [store.Backend] says: one round trip, by the key of every
// collection.
func (s *Store) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	return s.findOne(ctx, "_id", id)
}

// FindByName is as [store.Backend] says: one round trip, by a unique index.
func (s *Store) FindByName(ctx context.Context, name string) (*store.Account, error) {
	return s.findOne(ctx, "name", name)
}

// FindByEmail is as [store.Backend] says: one round trip, by a unique index.
func (s *Store) FindByEmail(ctx context.Context, emailKey string) (*store.Account, error) {
	return s.findOne(ctx, "email_key", emailKey)
}

func (s *Store) findOne(ctx context.Context, field string, value any) (*store.Account, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	found, err := s.read(ctx, field, value)
	if err != nil {
		return nil, err
	}
	return &found.Account, nil
}

func (s *Store) read(ctx context.Context, field string, value any) (*account, error) {
	found := new(account)
	err := s.accounts.FindOne(ctx, bson.D{{Key: field, Value: value}}).Decode(found)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, unavailable("reading an account", err)
	}
	return found, nil
}

// Create is as [store.Backend] says.
//
// It inserts one document, which the server does whole or not at all. If the reply
// is lost, the document is looked for by its id, which nobody else has: if it is
// there, the insertion was done. If the look fails as well, or comes before an
// insertion that is still on its way, the caller is told that the store is
// unavailable, and the account may be there, whole: trying again says that the
// name is taken.
func (s *Store) Create(ctx context.Context, what *store.Account) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	document := &account{Account: *what, Version: newVersion()}
	for attempt := range maxAttempts {
		_, err := s.accounts.InsertOne(ctx, document)
		switch {
		case err == nil:
			return nil
		case mongo.IsDuplicateKeyError(err):
			if done, err := s.whichIsTaken(ctx, &document.Account); done || err != nil {
				return err
			}
			// Whoever had the name is gone again.
		default:
			if _, readError := s.read(ctx, "_id", document.ID); readError == nil {
				return nil
			}
			return unavailable("creating an account", err)
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
	return unavailable("creating an account", errContention)
}

// whichIsTaken finds by reading which unique value of an account another has; the
// texts of servers differ. done without an error: the account itself is there.
func (s *Store) whichIsTaken(ctx context.Context, wanted *store.Account) (done bool, err error) {
	for _, unique := range []struct{ document, field, value string }{
		{"name", "name", wanted.Name}, {"email_key", "email", wanted.EmailKey},
	} {
		owner, err := s.read(ctx, unique.document, unique.value)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return false, err
		case owner.ID == wanted.ID:
			done = true
		default:
			return false, &store.ExistsError{Field: unique.field}
		}
	}
	return done, nil
}

// Update is as [store.Backend] says: one round trip to read and one to write,
// unless somebody else wrote in between.
//
// The write replaces the document if its version is still the one that was read.
// If the reply is lost, the next read tells: a version of this call's own means
// that the write was done. If somebody has written on top of it meanwhile, change
// runs on the record as it is then and finds its own work done. So nothing is done
// twice, and nobody is logged out by a lost reply.
func (s *Store) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var w writer
	for {
		current, err := s.read(ctx, "_id", id)
		if err != nil {
			return err
		}
		if w.mine(current.Version) {
			return nil
		}
		filter := bson.D{{Key: "_id", Value: id}, {Key: "version", Value: current.Version}}
		name, emailKey := current.Name, current.EmailKey
		if err := change(&current.Account); err != nil {
			return unlessUnchanged(err)
		}
		current.ID, current.Version = id, w.next()
		result, err := s.accounts.ReplaceOne(ctx, filter, current)
		if err == nil && result.MatchedCount > 0 {
			return nil
		}
		if mongo.IsDuplicateKeyError(err) && (current.Name != name || current.EmailKey != emailKey) {
			if _, err := s.whichIsTaken(ctx, &current.Account); err != nil {
				return err
			}
		}
		if err := w.retry(ctx, err); err != nil {
			return err
		}
	}
}

// Delete is as [store.Backend] says. A document that is gone after a lost reply
// was removed by this call, or by another whose caller wanted the same.
func (s *Store) Delete(ctx context.Context, id store.ID) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var w writer
	for {
		result, err := s.accounts.DeleteOne(ctx, bson.D{{Key: "_id", Value: id}})
		switch {
		case err == nil && (result.DeletedCount > 0 || w.lost > 0):
			return nil
		case err == nil:
			return store.ErrNotFound
		}
		if err := w.retry(ctx, err); err != nil {
			return err
		}
	}
}
