package mongostore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
)

// openTimeout bounds the opening of a Store, except for the building of indexes.
const openTimeout = 8 * time.Second

// Open connects to a server and makes a [Store]. [Store.Close] disconnects again. uri is a
// connection string with the name of a database, such as
// mongodb://localhost:27017/oauthsv. Its options for pool, TLS, timeouts, read preference,
// write concern, retries and credentials apply, as [New] explains. If the server cannot be
// reached, Open returns an error within 8 seconds.
//
// If the user name, the password or an option contains one of / ? # @ : and %, that
// character must be percent-encoded. Errors show the hosts and the name of the database,
// but not the user name, the password or the values of options.
func Open(ctx context.Context, uri string, config Config) (*Store, error) {
	where, err := parseURI(uri)
	if err != nil {
		return nil, fmt.Errorf("mongostore: %w", err)
	}
	if where.noJournal {
		cmp.Or(config.Logger, slog.Default()).Warn("the connection string says journal=false, which would let a crash undo an acknowledged change, such as the end of a session; the driver ignores it today: remove it")
	}
	s, err := open(ctx, uri, where.database, config)
	if err != nil {
		return nil, fmt.Errorf("mongostore: opening database %s at %s: %w", where.database, where.hosts, where.redact(err))
	}
	return s, nil
}

func open(ctx context.Context, uri, name string, config Config) (*Store, error) {
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	client, err := connect(opening, uri)
	if err != nil {
		return nil, err
	}
	s, err := newStore(ctx, opening, client.Database(name), config)
	if err != nil {
		return nil, errors.Join(err, disconnect(ctx, client))
	}
	s.client = client
	return s, nil
}

// connect connects to a server that answers.
func connect(ctx context.Context, uri string) (*mongo.Client, error) {
	settings := options.Client().ApplyURI(uri)
	if err := settings.Validate(); err != nil {
		return nil, err
	}
	client, err := mongo.Connect(ctx, settings)
	if err != nil {
		return nil, err
	}
	if err := client.Ping(ctx, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("the server does not answer: %w", err), disconnect(ctx, client))
	}
	return client, nil
}

// disconnect closes the connections of a client, even if the context has ended.
func disconnect(ctx context.Context, client *mongo.Client) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := client.Disconnect(ctx); err != nil {
		return fmt.Errorf("closing the connections: %w", err)
	}
	return nil
}
