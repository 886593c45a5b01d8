package mongostore

import (
	"cmp"
	"context"
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
	settings := options.Client().ApplyURI(uri)
	if err := settings.Validate(); err != nil {
		return nil, err
	}
	client, err := mongo.Connect(opening, settings)
	if err != nil {
		return nil, err
	}
	if err = client.Ping(opening, nil); err != nil {
		err = fmt.Errorf("the server does not answer: %w", err)
	} else {
		var s *Store
		if s, err = newStore(ctx, opening, client.Database(name), config); err == nil {
			s.client = client
			return s, nil
		}
	}
	disconnect, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if closing := client.Disconnect(disconnect); closing != nil {
		err = fmt.Errorf("%w; closing the connections: %w", err, closing)
	}
	return nil, err
}
