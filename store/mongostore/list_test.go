package mongostore_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
)

// TestListAroundSurrogates checks prefixes beside the numbers U+D800 to U+DFFF, which no letter
// has.
func TestListAroundSurrogates(t *testing.T) {
	backend := open(t, mongotest.URI(t))
	for _, name := range []string{"\uD7FE", "\uD7FF", "\uD7FFa", "\uE000", "\uFFFD"} {
		require.NoError(t, backend.Create(t.Context(), &store.Account{ID: store.NewID(), Name: name, EmailKey: name}))
	}
	for prefix, want := range map[string][]string{
		"\uD7FF": {"\uD7FF", "\uD7FFa"}, "\xed": {"\uD7FE", "\uD7FF", "\uD7FFa"}, "\xed\x9f": {"\uD7FE", "\uD7FF", "\uD7FFa"},
		"\xed\xa0": nil, "\xee": {"\uE000"}, "\uFFFD": {"\uFFFD"},
	} {
		var got []string
		found, err := backend.List(t.Context(), store.List{By: store.ListByName, Match: prefix, Limit: 10})
		require.NoError(t, err)
		for _, account := range found {
			got = append(got, account.Name)
		}
		assert.Equal(t, want, got, "prefix %q", prefix)
	}
}

// TestListNamesBadAccount checks that the error of a list says which account cannot be read.
func TestListNamesBadAccount(t *testing.T) {
	uri := mongotest.URI(t)
	backend := open(t, uri)
	good, bad := store.NewID(), store.NewID()
	require.NoError(t, backend.Create(t.Context(), &store.Account{ID: good, Name: "good", EmailKey: "good"}))
	_, err := connect(t, uri).Collection("accounts").InsertOne(t.Context(), bson.D{
		{Key: "_id", Value: bad}, {Key: "name", Value: "bad"}, {Key: "email_key", Value: "bad"}, {Key: "sessions", Value: "none"},
	})
	require.NoError(t, err)
	_, err = backend.List(t.Context(), store.List{Limit: 10})
	require.ErrorIs(t, err, store.ErrUnavailable)
	assert.ErrorContains(t, err, bad.Hex())
	assert.NotContains(t, err.Error(), good.Hex())
	for _, list := range []store.List{{After: "x", Limit: 1}, {By: store.ListByGroup, After: "x", Limit: 1}, {By: 7, Limit: 1}} {
		_, err := backend.List(t.Context(), list)
		assert.Error(t, err)
	}
}

// TestIndexForGroups checks the index that a list of a group goes through. An index on the
// groups alone may be there already.
func TestIndexForGroups(t *testing.T) {
	uri := mongotest.URI(t)
	accounts := connect(t, uri).Collection("accounts")
	open(t, uri)
	cursor, err := accounts.Indexes().List(t.Context())
	require.NoError(t, err)
	var indexes []struct {
		Key    bson.D `bson:"key"`
		Unique bool   `bson:"unique"`
	}
	require.NoError(t, cursor.All(t.Context(), &indexes))
	found := false
	for _, index := range indexes {
		if len(index.Key) == 2 && index.Key[0].Key == "groups" && index.Key[1].Key == "_id" {
			found = true
			assert.False(t, index.Unique)
		}
	}
	assert.True(t, found, "%v", indexes)
	_, err = accounts.InsertOne(t.Context(), bson.D{{Key: "_id", Value: primitive.NewObjectID()}, {Key: "name", Value: "a"}, {Key: "email_key", Value: "a"}, {Key: "groups", Value: bson.A{"x", "x"}}})
	assert.NoError(t, err, "a group twice is no conflict")
}
