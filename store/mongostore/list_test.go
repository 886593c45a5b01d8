package mongostore_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mongostore"
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
		assertListed(t, backend, prefix, want)
	}
}

// TestListEndsWithItsPrefix checks that a list does not go on with the letter after the last one
// that the prefix can mean.
func TestListEndsWithItsPrefix(t *testing.T) {
	backend, seen := openWatched(t, mongotest.URI(t), mongostore.Config{})
	for _, name := range []string{"a", "a\U0010FFFE", "a\U0010FFFF", "a\U0010FFFFb", "b", "\u00FF", "\u00FFa", "\u0100"} {
		require.NoError(t, backend.Create(t.Context(), &store.Account{ID: store.NewID(), Name: name, EmailKey: name}))
	}
	for prefix, want := range map[string][]string{
		"\xc3":         {"\u00FF", "\u00FFa"}, // U+00FF is the last letter that begins with this byte
		"\u00FF":       {"\u00FF", "\u00FFa"},
		"a\U0010FFFF":  {"a\U0010FFFF", "a\U0010FFFFb"}, // U+10FFFF is the last letter of all
		"a\U0010FFFE":  {"a\U0010FFFE"},
		"a\U0010FFFFb": {"a\U0010FFFFb"},
	} {
		assertListed(t, backend, prefix, want)
	}
	// jongodb orders texts by their UTF-16 code units and MongoDB by their bytes, which is not the
	// same for letters above U+FFFF. So what is asked is looked at as well.
	for prefix, before := range map[string]string{
		"a\U0010FFFF": "b", "a\U0010FFFF\U0010FFFF": "b", "a\xf4\x8f": "b", "a\U0010FFFE": "a\U0010FFFF", "\U0010FFFF": "", "\xf4": "",
	} {
		seen.take()
		_, err := backend.List(t.Context(), store.List{By: store.ListByName, Match: prefix, Limit: 10})
		require.NoError(t, err)
		sent := seen.take()
		require.Len(t, sent, 1)
		end, bounded := sent[0].Lookup("filter", "name", "$lt").StringValueOK()
		assert.Equal(t, before, end, "prefix %q", prefix)
		assert.Equal(t, before != "", bounded, "prefix %q", prefix)
	}
}

// assertListed checks the names of the accounts whose names begin with a prefix.
func assertListed(t *testing.T, backend store.Backend, prefix string, want []string) {
	t.Helper()
	found, err := backend.List(t.Context(), store.List{By: store.ListByName, Match: prefix, Limit: 10})
	require.NoError(t, err)
	var got []string
	for _, account := range found {
		got = append(got, account.Name)
	}
	assert.Equal(t, want, got, "prefix %q", prefix)
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
