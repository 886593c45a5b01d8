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

// Config configures a [Store]. The zero value works well for most programs.
type Config struct {
	// Timeout keeps calls from waiting for a slow or lost server. It bounds the work of
	// each call in the database. The default is timeoutMS of the connection string, or
	// 2 seconds without it. See section Deadlines of the package for how it works
	// together with the context of a call.
	Timeout time.Duration
	// IndexTimeout bounds how long Open and New build each missing index. On a large
	// collection a build can take minutes. The default is 1 hour. If the context of
	// Open or New ends, so does the build.
	IndexTimeout time.Duration
	// Logger gets warnings about the server, and a line for each index that is built.
	// The default is slog.Default().
	Logger *slog.Logger
}

func (c Config) withDefaults(database *mongo.Database) (Config, error) {
	if c.Timeout < 0 || c.IndexTimeout < 0 {
		return c, errors.New("configuration: Timeout and IndexTimeout must not be negative")
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
		if own := database.Client().Timeout(); own != nil && *own > 0 {
			c.Timeout = *own
		}
	}
	if c.IndexTimeout == 0 {
		c.IndexTimeout = defaultIndexTimeout
	}
	return c, nil
}

// Store is a [store.Backend] over MongoDB, or another server of its protocol. It
// is safe for concurrent use. Make it with [Open] or [New].
type Store struct {
	client   *mongo.Client // nil if the caller owns it
	database *mongo.Database
	accounts *mongo.Collection
	records  *mongo.Collection
	timeout  time.Duration

	accountQueue queue[store.ID, *account]
	recordQueue  queue[string, *record]

	// reaps reports whether this process removes expired records, because the server
	// does not.
	reaps   bool
	updates atomic.Uint64
}

var _ store.Backend = (*Store)(nil)

const (
	accountsName = "accounts"
	recordsName  = "expiring_records"

	defaultTimeout      = 2 * time.Second
	defaultIndexTimeout = time.Hour
)

// New makes a Store over a database that the caller has connected to. Use it instead of
// [Open] to share a client with the rest of a program. The caller still owns the client.
//
// New tests whether the server replaces documents in one step, and returns an error if it
// does not. Then it creates the missing indexes. The server must answer within 8 seconds;
// Config.IndexTimeout bounds the building of an index.
//
// Pool, TLS, retries and credentials are those of the database. So is the write concern,
// and if it is not set, it is majority. New logs a warning if the write concern waits for
// a single member only (w=1), or not for the journal, and refuses w=0. It reads accounts
// from the primary in any case, and logs a warning if the read preference is another.
func New(ctx context.Context, database *mongo.Database, config Config) (*Store, error) {
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	s, err := newStore(ctx, opening, database, config)
	if err != nil {
		return nil, fmt.Errorf("mongostore: %w", err)
	}
	return s, nil
}

// newStore makes a Store. Its work must end within the context opening, except for the
// building of indexes, which has ctx.
func newStore(ctx, opening context.Context, database *mongo.Database, config Config) (*Store, error) {
	config, err := config.withDefaults(database)
	if err != nil {
		return nil, err
	}
	concern, err := writeConcern(database, config.Logger)
	if err != nil {
		return nil, err
	}
	if preference := database.ReadPreference(); preference != nil && preference.Mode() != readpref.PrimaryMode {
		config.Logger.Warn("accounts are read from the primary nevertheless: a secondary that lags behind would undo a revocation", "read_preference", preference.Mode().String())
	}
	collection := options.Collection().SetReadPreference(readpref.Primary()).SetWriteConcern(concern).SetRegistry(registry)
	s := &Store{
		database: database,
		accounts: database.Collection(accountsName, collection),
		records:  database.Collection(recordsName, collection),
		timeout:  config.Timeout,
	}
	if err := s.probe(opening); err != nil {
		return nil, err
	}
	if err := s.ensureIndexes(ctx, opening, config); err != nil {
		return nil, err
	}
	return s, nil
}

// writeConcern returns the write concern of the database. If that does not say how many
// members to wait for, it is a majority.
func writeConcern(database *mongo.Database, logger *slog.Logger) (*writeconcern.WriteConcern, error) {
	concern := database.WriteConcern()
	switch {
	case concern == nil:
		return writeconcern.Majority(), nil
	case concern.W == nil: // only the journal is set
		copied := *concern
		copied.W = writeconcern.Majority().W
		concern = &copied
	}
	if !concern.Acknowledged() {
		return nil, errors.New("the write concern is w=0, but this store cannot work without acknowledged writes; use majority")
	}
	if concern.W == 1 {
		logger.Warn("the write concern is w=1: a failover can undo an acknowledged change, such as the end of a session; use majority")
	}
	if concern.Journal != nil && !*concern.Journal {
		logger.Warn("the write concern is journal=false: a crash can undo an acknowledged change, such as the end of a session; remove it")
	}
	return concern, nil
}

// Close waits for calls under way and disconnects from the server. On a Store of [New] it
// does nothing.
func (s *Store) Close() error {
	if s.client == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	return s.client.Disconnect(ctx)
}

// begin bounds the time of one call. An earlier deadline of the caller stays. If the caller
// hangs up, the call does not end: the driver would close the connection, and the next
// caller would have to open another one.
func (s *Store) begin(caller context.Context) (context.Context, context.CancelFunc, error) {
	if err := caller.Err(); err != nil {
		return nil, nil, unavailable("before the call began", err)
	}
	deadline := time.Now().Add(s.timeout)
	if own, bounded := caller.Deadline(); bounded && own.Before(deadline) {
		deadline = own
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(caller), deadline)
	return ctx, cancel, nil
}

// patience returns how long a call waits for its turn.
func (s *Store) patience() time.Duration { return 2 * s.timeout }

// unavailable wraps an error of the driver in ErrUnavailable.
func unavailable(what string, err error) error {
	return fmt.Errorf("%w: mongostore: %s: %w", store.ErrUnavailable, what, err)
}

// Ping is as [store.Backend] says. The primary must answer.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	err = s.database.RunCommand(ctx, bson.D{{Key: "ping", Value: 1}}, options.RunCmd().SetReadPreference(readpref.Primary())).Err()
	if err != nil {
		return unavailable("ping", err)
	}
	return nil
}
