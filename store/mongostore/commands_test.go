package mongostore_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/event"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mongostore"
)

// commands are those that a Store has sent to its server.
type commands struct {
	mu   sync.Mutex
	sent []bson.Raw
	// before is called before a command is sent, if it is set.
	before func(bson.Raw)
}

// take returns the commands since the last call of take.
func (c *commands) take() []bson.Raw {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := c.sent
	c.sent = nil
	return sent
}

// openWatched makes a Store whose commands are seen, but for those of its opening.
func openWatched(t *testing.T, uri string, config mongostore.Config) (*mongostore.Store, *commands) {
	t.Helper()
	seen := new(commands)
	backend, err := mongostore.New(t.Context(), connectWith(t, uri, options.Client().SetMonitor(&event.CommandMonitor{
		Started: func(_ context.Context, started *event.CommandStartedEvent) {
			seen.mu.Lock()
			defer seen.mu.Unlock()
			seen.sent = append(seen.sent, slices.Clone(started.Command))
			if seen.before != nil {
				seen.before(started.Command)
			}
		},
	})), config)
	require.NoError(t, err)
	seen.take()
	return backend, seen
}

// TestRoundTrips checks that a call takes as many round trips as its comment says.
func TestRoundTrips(t *testing.T) {
	backend, seen := openWatched(t, mongotest.URI(t), mongostore.Config{})
	ids := make([]store.ID, 5)
	for i := range ids {
		ids[i] = store.NewID()
		require.NoError(t, backend.Create(t.Context(), &store.Account{ID: ids[i], Name: ids[i].Hex(), EmailKey: ids[i].Hex(), Groups: []string{"g"}}))
	}
	list := func(list store.List) func() error {
		return func() error {
			list.Limit = 2
			found, err := backend.List(t.Context(), list)
			assert.Len(t, found, 2)
			return err
		}
	}
	name := ids[0].Hex()
	for _, test := range []struct {
		name  string
		trips int
		call  func() error
	}{
		{"FindByID", 1, func() error { _, err := backend.FindByID(t.Context(), ids[0]); return err }},
		{"FindByName", 1, func() error { _, err := backend.FindByName(t.Context(), name); return err }},
		{"FindByEmail", 1, func() error { _, err := backend.FindByEmail(t.Context(), name); return err }},
		{"List", 1, list(store.List{})},
		{"List by name", 1, list(store.List{By: store.ListByName, After: name})},
		{"List of a group", 1, list(store.List{By: store.ListByGroup, Match: "g"})},
		{"Create", 1, func() error {
			return backend.Create(t.Context(), &store.Account{ID: store.NewID(), Name: "x", EmailKey: "x"})
		}},
		{"Update", 2, func() error {
			return backend.Update(t.Context(), ids[0], func(a *store.Account) error { a.Phone = "1"; return nil })
		}},
		{"Update without a change", 2, func() error {
			return backend.Update(t.Context(), ids[0], func(a *store.Account) error { return store.ErrUnchanged })
		}},
		{"Delete", 1, func() error { return backend.Delete(t.Context(), ids[0]) }},
	} {
		seen.take()
		require.NoError(t, test.call(), test.name)
		sent := seen.take()
		assert.Len(t, sent, test.trips, "%s: %v", test.name, sent)
	}
}

// TestReapingIsRare checks how often this process looks for expired records if the server does
// not remove them.
func TestReapingIsRare(t *testing.T) {
	uri := mongotest.URI(t)
	withoutExpiry(t, uri)
	backend, seen := openWatched(t, uri, mongostore.Config{})
	for range 64 {
		require.NoError(t, backend.UpdateRecord(t.Context(), "key", time.Now(), func(*store.Record) error { return store.ErrUnchanged }))
	}
	looked := 0
	for _, command := range seen.take() {
		if _, err := command.LookupErr("filter", "expires"); err == nil {
			looked++
		}
	}
	assert.Equal(t, 2, looked, "once in 32 calls")
}

// TestReapingSparesWhatIsWrittenAnew: another process writes a record anew after this one has found
// that it has expired, and before it removes it.
func TestReapingSparesWhatIsWrittenAnew(t *testing.T) {
	uri := mongotest.URI(t)
	records := withoutExpiry(t, uri)
	backend, seen := openWatched(t, uri, mongostore.Config{})
	other := open(t, uri)
	now := time.Now()
	write := func(to store.Backend, key string, now time.Time) {
		require.NoError(t, to.UpdateRecord(t.Context(), key, now, func(r *store.Record) error {
			r.Value, r.Expires = []byte("x"), now.Add(time.Minute)
			return nil
		}))
	}
	write(backend, "old", now.Add(-2*time.Hour))
	anew := 0
	seen.before = func(command bson.Raw) {
		if _, err := command.LookupErr("delete"); err == nil {
			anew++
			write(other, "old", now)
		}
	}
	for range 32 {
		write(backend, "another", now)
	}
	require.Equal(t, 1, anew)
	count, err := records.CountDocuments(t.Context(), bson.D{})
	require.NoError(t, err)
	assert.EqualValues(t, 2, count)
}

// TestTimeoutOfTheClient checks how long a call may take. The driver tells the server, if the
// client has a timeout of its own.
func TestTimeoutOfTheClient(t *testing.T) {
	uri := mongotest.URI(t)
	for _, test := range []struct {
		option      string
		config      mongostore.Config
		least, most time.Duration
	}{
		{"timeoutMS=60000", mongostore.Config{}, 30 * time.Second, 60 * time.Second},
		{"timeoutMS=60000", mongostore.Config{Timeout: 20 * time.Second}, 10 * time.Second, 20 * time.Second},
		{"timeoutMS=0", mongostore.Config{}, 1, 2 * time.Second}, // none, so it is that of the Store
	} {
		backend, seen := openWatched(t, withOption(uri, test.option), test.config)
		account := &store.Account{ID: store.NewID(), Name: "ada", EmailKey: "ada"}
		require.NoError(t, backend.Create(t.Context(), account), test.option)
		sent := seen.take()
		require.Len(t, sent, 1)
		milliseconds, ok := sent[0].Lookup("maxTimeMS").AsInt64OK()
		require.True(t, ok, "%v", sent[0])
		assert.GreaterOrEqual(t, time.Duration(milliseconds)*time.Millisecond, test.least, test.option)
		assert.LessOrEqual(t, time.Duration(milliseconds)*time.Millisecond, test.most, test.option)
		require.NoError(t, backend.Delete(t.Context(), account.ID))
	}
}
