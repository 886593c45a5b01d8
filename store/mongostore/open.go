package mongostore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
)

// openTimeout is how long the server may take to answer at all when a Store is
// opened.
const openTimeout = 8 * time.Second

// Open connects to the server that a connection string names, which must hold the
// name of a database, and makes a [Store] over it that Close disconnects. What the
// string says of pool, TLS, timeouts, read preference, write concern, retries and
// credentials holds, as [New] explains. If the server cannot be reached it returns
// an error within 8 seconds.
func Open(ctx context.Context, uri string, config Config) (*Store, error) {
	where, name, err := splitURI(uri)
	if err != nil {
		return nil, fmt.Errorf("mongostore: %w", err)
	}
	s, err := open(ctx, uri, name, config)
	if err != nil {
		return nil, fmt.Errorf("mongostore: opening database %s at %s: %w", name, where, err)
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
	return nil, errors.Join(err, client.Disconnect(disconnect))
}

// splitURI finds the hosts and the database's name in a connection string. It is
// for messages too, which must not hold the password.
func splitURI(uri string) (hosts, database string, err error) {
	_, rest, found := strings.Cut(uri, "://")
	if !found || !strings.HasPrefix(uri, "mongodb://") && !strings.HasPrefix(uri, "mongodb+srv://") {
		return "", "", errors.New("a connection string begins with mongodb:// or mongodb+srv://")
	}
	rest, _, _ = strings.Cut(rest, "?")
	hosts, database, _ = strings.Cut(rest, "/")
	hosts = hosts[strings.LastIndexByte(hosts, '@')+1:]
	database, err = url.PathUnescape(database)
	if err != nil || database == "" {
		return "", "", errors.New("the connection string names no database: put it behind the hosts, as in mongodb://localhost/oauthsv")
	}
	return hosts, database, nil
}
