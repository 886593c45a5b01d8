package mongostore_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/mongostore"
	"github.com/oauthsv/oauthsv/store/password"
	"github.com/oauthsv/oauthsv/store/transfer"
)

// importClink imports a collection into an empty store.
func importClink(t *testing.T, uri, collection string) (accounts *store.Accounts, counts transfer.Counts, refused map[int]string, err error) {
	t.Helper()
	hasher, err := password.New(password.Config{Memory: 8, Iterations: 1})
	require.NoError(t, err)
	accounts, err = store.NewAccounts(store.Config{Backend: memstore.New(), Passwords: hasher})
	require.NoError(t, err)
	refused = make(map[int]string)
	counts, err = transfer.Import(t.Context(), transfer.Config{
		Accounts: accounts, Hasher: hasher, Refused: func(number int, reason error) { refused[number] = reason.Error() },
	}, mongostore.ReadClink(t.Context(), uri, collection))
	return accounts, counts, refused, err
}

// clinkID is the _id of the document with a number.
func clinkID(number int) primitive.ObjectID { return primitive.ObjectID{11: byte(number)} }

func TestClinkAccountsMoveIn(t *testing.T) {
	uri := mongotest.URI(t)
	date := func(year int) primitive.DateTime {
		return primitive.NewDateTimeFromTime(time.Date(year, 2, 3, 4, 5, 6, 789e6, time.UTC))
	}
	digest := fmt.Sprintf("%x", sha256.Sum224([]byte("correct horse")))
	_, err := connect(t, uri).Collection("people").InsertMany(t.Context(), []any{
		bson.D{{Key: "_id", Value: clinkID(2)}, {Key: "name", Value: "bob"}, {Key: "hashpwd", Value: digest}, {Key: "email", Value: "bob@example.org"}},
		bson.D{
			{Key: "_id", Value: clinkID(1)}, {Key: "name", Value: "Ada"}, {Key: "hashpwd", Value: digest},
			{Key: "email", Value: "Ada@example.org"}, {Key: "phone", Value: "+49 30 1234"}, {Key: "groups", Value: bson.A{"editors", "admin"}},
			{Key: "created_date", Value: date(2001)}, {Key: "modified_date", Value: date(2002)}, {Key: "last_action", Value: date(2003)},
			{Key: "token", Value: bson.D{{Key: "x", Value: 1}}},
		},
		bson.D{
			{Key: "_id", Value: clinkID(3)}, {Key: "name", Value: "carol"}, {Key: "hashpwd", Value: ""}, {Key: "email", Value: "carol@example.org"},
			{Key: "phone", Value: nil}, {Key: "groups", Value: nil}, {Key: "last_action", Value: nil},
		},
	})
	require.NoError(t, err)
	accounts, counts, refused, err := importClink(t, uri, "people")
	require.NoError(t, err)
	require.Equal(t, transfer.Counts{Imported: 3}, counts, refused)

	ada, err := accounts.FindByID(t.Context(), clinkID(1))
	require.NoError(t, err)
	assert.Regexp(t, `^\$argon2id-sha224\$`, ada.PasswordHash)
	assert.NotContains(t, ada.PasswordHash, digest)
	wanted := ada.Clone()
	wanted.Name, wanted.Email, wanted.Phone, wanted.Groups = "ada", "Ada@example.org", "+49 30 1234", []string{"admin", "editors"}
	wanted.Created, wanted.Modified, wanted.LastAction = date(2001).Time().UTC(), date(2002).Time().UTC(), date(2003).Time().UTC()
	assert.Equal(t, wanted, ada)
	for _, name := range []string{"ada", "bob"} {
		_, err := accounts.VerifyPassword(t.Context(), name, "correct horse")
		require.NoError(t, err, name)
		after, err := accounts.FindByName(t.Context(), name)
		require.NoError(t, err)
		assert.NotContains(t, after.PasswordHash, "horse")
	}
	carol, err := accounts.FindByID(t.Context(), clinkID(3))
	require.NoError(t, err)
	assert.Empty(t, carol.PasswordHash)
	assert.WithinDuration(t, time.Now(), carol.LastAction, time.Hour)
}

// TestBrokenClinkDocumentsAreRefused: each with its place, and those around it are imported.
func TestBrokenClinkDocumentsAreRefused(t *testing.T) {
	uri := mongotest.URI(t)
	digest := strings.Repeat("5ec4e700", 7)
	const wrongType = "the document is no account: a field has the wrong type"
	const noDigest = "password: malformed hash: a SHA-224 digest has 56 hexadecimal digits"
	tests := []struct {
		field  string
		value  any // nil: the field is missing
		reason string
	}{
		{"_id", "5ec4e700", "_id must be an ObjectID"}, // a text comes before all ObjectIDs
		{"name", int32(7), wrongType},
		{"name", nil, `store: invalid name: must be 1 to 64 letters, digits, ".", "_" or "-"`},
		{"name", "a b", `store: invalid name: must be 1 to 64 letters, digits, ".", "_" or "-"`},
		{"email", bson.A{"x@example.org"}, wrongType},
		{"email", nil, "store: invalid email: must be one address such as name@example.org, of at most 254 bytes"},
		{"hashpwd", bson.A{digest}, wrongType},
		{"hashpwd", nil, "hashpwd is missing"},
		{"hashpwd", primitive.Null{}, "hashpwd is missing"},
		{"hashpwd", digest[1:], noDigest},
		{"hashpwd", digest[1:] + "g", noDigest},
		{"phone", int64(4930), wrongType},
		{"phone", "home", "store: invalid phone: must be made of digits, spaces and the signs + - ( ) . / # * , ; x"},
		{"groups", "editors", wrongType},
		{"groups", bson.A{"editors", int32(1)}, wrongType},
		{"groups", bson.A{"a b"}, `store: invalid group: must be 1 to 64 ASCII letters, digits, ".", "_", ":" or "-", and not "." or ".."`},
		{"created_date", "yesterday", wrongType},
		{"modified_date", bson.D{{Key: "y", Value: 2001}}, wrongType},
		{"last_action", primitive.DateTime(1 << 60), "last_action: must be in the years 1 to 9999, in UTC"},
	}
	collection := connect(t, uri).Collection("account")
	for i, test := range tests {
		document := bson.D{}
		for field, value := range map[string]any{
			"_id": clinkID(2*i + 1), "name": fmt.Sprint("broken-", i), "email": fmt.Sprintf("broken-%d@example.org", i), "hashpwd": digest,
		} {
			if field != test.field {
				document = append(document, bson.E{Key: field, Value: value})
			}
		}
		if test.value != nil {
			document = append(document, bson.E{Key: test.field, Value: test.value})
		}
		_, err := collection.InsertOne(t.Context(), document)
		require.NoError(t, err)
		_, err = collection.InsertOne(t.Context(), bson.D{
			{Key: "_id", Value: clinkID(2*i + 2)}, {Key: "name", Value: fmt.Sprint("good-", i)}, {Key: "email", Value: fmt.Sprintf("good-%d@example.org", i)}, {Key: "hashpwd", Value: digest},
		})
		require.NoError(t, err)
	}
	_, counts, refused, err := importClink(t, uri, "account")
	require.NoError(t, err)
	assert.Equal(t, transfer.Counts{Imported: len(tests), Refused: len(tests)}, counts)
	for i, test := range tests {
		assert.Equal(t, test.reason, refused[2*i+1], "%s: %v", test.field, test.value)
		assert.NotContains(t, refused[2*i+1], "5ec4e7")
	}
}

// TestClinkIsReadInBatches checks a collection that does not fit into one batch.
func TestClinkIsReadInBatches(t *testing.T) {
	uri := mongotest.URI(t)
	var documents []any
	for range 1001 {
		documents = append(documents, bson.D{{Key: "_id", Value: primitive.NewObjectID()}, {Key: "hashpwd", Value: ""}})
	}
	_, err := connect(t, uri).Collection("account").InsertMany(t.Context(), documents)
	require.NoError(t, err)
	last := transfer.Numbered{}
	for record, err := range mongostore.ReadClink(t.Context(), uri, "account") {
		require.NoError(t, err)
		require.Equal(t, last.Number+1, record.Number)
		require.Greater(t, record.ID, last.ID)
		last = record
	}
	assert.Equal(t, 1001, last.Number)
	for record := range mongostore.ReadClink(t.Context(), uri, "account") {
		require.Equal(t, 1, record.Number)
		break // the reader must not go on
	}
	for range mongostore.ReadClink(t.Context(), uri, "empty") {
		t.Fatal("there is nothing")
	}
}

// TestClinkCannotBeRead: one error that shows where, and no password.
func TestClinkCannotBeRead(t *testing.T) {
	for uri, says := range map[string]string{
		"mongodb://user:hunter2@127.0.0.1:1/clink?serverSelectionTimeoutMS=200": "transfer: reading the source: mongostore: collection account of database clink at 127.0.0.1:1: the server does not answer",
		"mongodb://user:hunter2@127.0.0.1:1/":                                   "names no database",
		"mongodb://user:hunter2/x@127.0.0.1:1/clink":                            "percent-encode",
		"postgres://user:hunter2@127.0.0.1:1/clink":                             "must begin with mongodb://",
	} {
		_, counts, _, err := importClink(t, uri, "account")
		require.ErrorIs(t, err, transfer.ErrSource)
		assert.ErrorContains(t, err, says)
		assert.NotContains(t, err.Error(), "hunter2")
		assert.NotContains(t, err.Error(), "\n")
		assert.Zero(t, counts)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range mongostore.ReadClink(ctx, mongotest.URI(t), "account") {
		assert.ErrorIs(t, err, context.Canceled)
	}
}
