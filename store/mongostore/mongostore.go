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
	// Timeout bounds the work of each call in the database. The default is timeoutMS
	// of the URI, else 2 seconds. An earlier deadline of the caller's context holds
	// instead. A caller who hangs up ends a call only before it begins and while it
	// waits; what has begun goes on, because to break it off would cost a connection
	// of the pool.
	//
	// Updates of one account, or of one record, by one process run one after the
	// other. A call waits for its turn at most twice the Timeout, and the Timeout
	// begins when the turn has come.
	Timeout time.Duration
	// IndexTimeout bounds the building of each index that is missing when a Store is
	// made. On a collection that is large already a build can take minutes. The
	// default is 1 hour. The caller's context ends it earlier.
	IndexTimeout time.Duration
	// Logger gets warnings about the server, and a line for each index that is
	// built. The default is slog.Default().
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
	client   *mongo.Client // nil where the caller owns it
	database *mongo.Database
	accounts *mongo.Collection
	records  *mongo.Collection
	timeout  time.Duration

	accountQueue queue[store.ID, *account]
	recordQueue  queue[string, *record]

	// reaps says that the server does not remove expired records, so that this
	// process does.
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

// New makes a Store over a database that the caller has connected to and goes on
// to own. It tries out whether the server replaces documents in one step, and
// refuses one that does not; then it creates the indexes that are missing. The
// server must answer within 8 seconds; Config.IndexTimeout tells how long an index
// may take.
//
// Pool, TLS, write concern, retries and credentials are those of the database. A
// write concern that was not set becomes majority. One that waits for a single
// member (w=1), or for no journal, is warned of in the log, and w=0 is refused.
// Accounts are read from the primary whatever the read preference is, with a
// warning if it is another.
func New(ctx context.Context, database *mongo.Database, config Config) (*Store, error) {
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	s, err := newStore(ctx, opening, database, config)
	if err != nil {
		return nil, fmt.Errorf("mongostore: %w", err)
	}
	return s, nil
}

// newStore does all but to build indexes within the context opening.
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
		config.Logger.Warn("accounts are read from the primary all the same: a secondary that lags behind would undo a revocation", "read_preference", preference.Mode().String())
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

// writeConcern is that of the database, with a majority where it says nothing.
func writeConcern(database *mongo.Database, logger *slog.Logger) (*writeconcern.WriteConcern, error) {
	concern := database.WriteConcern()
	switch {
	case concern == nil:
		return writeconcern.Majority(), nil
	case concern.W == nil: // the journal was asked for, and nothing else
		copied := *concern
		copied.W = writeconcern.Majority().W
		concern = &copied
	}
	if !concern.Acknowledged() {
		return nil, errors.New("the write concern is w=0: without an acknowledgement nothing here can be relied on; use majority")
	}
	if concern.W == 1 {
		logger.Warn("the write concern is w=1: a failover can undo a change that was acknowledged, such as the end of a session; use majority")
	}
	if concern.Journal != nil && !*concern.Journal {
		logger.Warn("the write concern is journal=false: a crash can undo a change that was acknowledged, such as the end of a session; leave it out")
	}
	return concern, nil
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

// begin bounds one call. A deadline of the caller's that comes earlier stays. A
// caller who hangs up later does not end the call: the driver would close the
// connection in the middle of it, and the next caller would have to open another.
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

// patience is how long a call waits for its turn.
func (s *Store) patience() time.Duration { return 2 * s.timeout }

// unavailable: whatever the driver says and nobody recognizes is an outage.
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
