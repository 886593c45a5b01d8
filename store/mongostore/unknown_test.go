package mongostore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
)

// TestUnknownMembersAreKept checks members of all types that a newer version of the package
// has added. The two versions run side by side during an upgrade.
func TestUnknownMembersAreKept(t *testing.T) {
	uri := mongotest.URI(t)
	backend, database := open(t, uri), connect(t, uri)
	now := time.Now()
	added := bson.D{
		{Key: "z_text", Value: "x"},
		{Key: "a_nested", Value: bson.D{{Key: "z", Value: int32(1)}, {Key: "a", Value: bson.A{int64(2), nil, bson.D{{Key: "k", Value: 1.5}}}}}},
		{Key: "bytes", Value: primitive.Binary{Subtype: 4, Data: []byte{1, 2}}},
		{Key: "time", Value: primitive.NewDateTimeFromTime(now)},
	}
	account := &store.Account{
		ID: store.NewID(), Name: "ada", EmailKey: "ada@example.org",
		Sessions: []store.Session{{ID: "s", Expires: now.Add(time.Hour)}},
	}
	require.NoError(t, backend.Create(t.Context(), account))
	require.NoError(t, backend.UpdateRecord(t.Context(), "key", now, func(r *store.Record) error {
		r.Value, r.Expires = []byte("1"), now.Add(time.Hour)
		return nil
	}))
	accounts, records := database.Collection("accounts"), database.Collection("expiring_records")
	session := append(bson.D{{Key: "id", Value: "s"}, {Key: "expires", Value: now.Add(time.Hour)}}, added...)
	for range 2 { // before and after the newer version has written
		_, err := accounts.UpdateByID(t.Context(), account.ID, bson.D{{Key: "$set", Value: append(bson.D{{Key: "sessions", Value: bson.A{session}}}, added...)}})
		require.NoError(t, err)
		_, err = records.UpdateByID(t.Context(), "key", bson.D{{Key: "$set", Value: added}})
		require.NoError(t, err)

		require.NoError(t, backend.Update(t.Context(), account.ID, func(a *store.Account) error {
			a.Phone += "1"
			return nil
		}))
		require.NoError(t, backend.UpdateRecord(t.Context(), "key", now, func(r *store.Record) error {
			r.Value = append(r.Value, '1')
			return nil
		}))
		var found, record bson.Raw
		require.NoError(t, accounts.FindOne(t.Context(), bson.D{}).Decode(&found))
		require.NoError(t, records.FindOne(t.Context(), bson.D{}).Decode(&record))
		for _, member := range added {
			kind, value, err := bson.MarshalValue(member.Value)
			require.NoError(t, err)
			want := bson.RawValue{Type: kind, Value: value}.String()
			assert.Equal(t, want, found.Lookup(member.Key).String())
			assert.Equal(t, want, found.Lookup("sessions", "0", member.Key).String())
			assert.Equal(t, want, record.Lookup(member.Key).String())
		}
	}
	// An expired record counts as absent, and so do members that were added to it.
	require.NoError(t, backend.UpdateRecord(t.Context(), "key", now.Add(2*time.Hour), func(r *store.Record) error {
		r.Value, r.Expires = []byte("2"), now.Add(3*time.Hour)
		return nil
	}))
	count, err := records.CountDocuments(t.Context(), bson.D{{Key: "z_text", Value: "x"}})
	require.NoError(t, err)
	assert.Zero(t, count)
}
