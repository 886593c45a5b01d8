package faulttest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mongostore"
)

// TestTakenInOtherWords checks servers that report a taken value with a code and a text of
// their own.
func TestTakenInOtherWords(t *testing.T) {
	for _, code := range []int32{11000, 1, 8000} {
		k := newWireKit(t, mongotest.URI(t), mongostore.Config{})
		ada := blank("ada")
		require.NoError(t, k.backend.Create(t.Context(), ada))
		require.NoError(t, k.backend.Create(t.Context(), blank("grace")))
		k.hooks.Store(&hooks{reply: func(_, reply *message) {
			if reply.body.Lookup("writeErrors").Type == bson.TypeArray {
				reply.set("writeErrors", bson.A{bson.D{
					{Key: "index", Value: int32(0)}, {Key: "code", Value: code}, {Key: "errmsg", Value: "unique_violation"},
				}})
			}
			if reply.body.Lookup("code").Type == bson.TypeInt32 {
				reply.set("code", code)
				reply.set("codeName", "Other")
				reply.set("errmsg", "unique_violation")
			}
		}})
		change := func(name, email string) error {
			return k.backend.Update(t.Context(), ada.ID, func(a *store.Account) error {
				a.Name, a.EmailKey = name, email
				return nil
			})
		}
		second := func(name, email string) error {
			account := blank(name)
			account.EmailKey = email
			return k.backend.Create(t.Context(), account)
		}
		for field, err := range map[string]error{
			"name":  change("grace", "ada@example.org"),
			"email": change("ada", "grace@example.org"),
		} {
			assertTaken(t, err, field)
		}
		assertTaken(t, change("grace", "grace@example.org"), "name")
		assertTaken(t, second("grace", "x@example.org"), "name")
		assertTaken(t, second("x", "grace@example.org"), "email")
		assertTaken(t, second("grace", "ada@example.org"), "name")
	}
}

func assertTaken(t *testing.T, err error, field string) {
	t.Helper()
	var exists *store.ExistsError
	if assert.ErrorAs(t, err, &exists) {
		assert.Equal(t, field, exists.Field)
	}
}

// TestRefusesReplaceInTwoSteps checks that Open refuses a server that compares first and
// writes later.
func TestRefusesReplaceInTwoSteps(t *testing.T) {
	uri := mongotest.URI(t)
	p := newWireProxy(t, uri)
	p.hooks.Store(&hooks{request: compareFirst(database(t, uri))})
	for range 10 {
		_, err := mongostore.Open(t.Context(), p.uri, mongostore.Config{})
		require.Error(t, err)
		assert.ErrorContains(t, err, "FerretDB")
		assert.NotContains(t, err.Error(), "\n")
		t.Log(err)
	}
	assert.Zero(t, countRecords(t, uri), "the probe leaves nothing")

	p.heal()
	begin := time.Now()
	backend, err := mongostore.Open(t.Context(), p.uri, mongostore.Config{})
	require.NoError(t, err)
	t.Logf("opened in %v", time.Since(begin))
	require.NoError(t, backend.Close())
	assert.Zero(t, countRecords(t, uri), "the probe leaves nothing")
}

// TestRefusesServerWhereNobodyWins checks that Open refuses a server that says of each replacement
// that it has found nothing to replace.
func TestRefusesServerWhereNobodyWins(t *testing.T) {
	p := newWireProxy(t, mongotest.URI(t))
	p.hooks.Store(&hooks{reply: func(request, reply *message) {
		if request.command() == "update" {
			reply.set("n", int32(0))
			reply.set("nModified", int32(0))
		}
	}})
	_, err := mongostore.Open(t.Context(), p.uri, mongostore.Config{})
	assert.ErrorContains(t, err, "and 0 of them succeeded, but exactly 1 must")
	assert.ErrorContains(t, err, "cannot be used")
}

// TestProbeThatStaysIsReported checks a server that refuses to delete what Open has put there to
// test the server.
func TestProbeThatStaysIsReported(t *testing.T) {
	p := newWireProxy(t, mongotest.URI(t))
	p.refuse("delete", 13, "deleting is not for you")
	_, err := mongostore.Open(t.Context(), p.uri, mongostore.Config{})
	assert.ErrorContains(t, err, "removing the document of the test of the server")
	assert.ErrorContains(t, err, "deleting is not for you")
}

// TestUnknownErrorEndsTheCall checks that a write is sent three times if the server answers with
// an error that says nothing about the write.
func TestUnknownErrorEndsTheCall(t *testing.T) {
	k := newWireKit(t, mongotest.URI(t), mongostore.Config{})
	account := blank("ada")
	require.NoError(t, k.backend.Create(t.Context(), account))
	sent := k.refuse("update", 8000, "the cluster is out of sorts")
	err := k.backend.Update(t.Context(), account.ID, func(a *store.Account) error { a.Phone = "1"; return nil })
	assert.ErrorIs(t, err, store.ErrUnavailable)
	assert.ErrorContains(t, err, "the cluster is out of sorts")
	assert.EqualValues(t, 3, sent.Load())
}

// compareFirst turns a conditional update into two steps: the proxy compares the version, and
// then the server writes without a condition.
func compareFirst(server *mongo.Database) func(*message) {
	return func(m *message) {
		if m.command() != "update" {
			return
		}
		for _, list := range m.sequences {
			for i, update := range list.documents {
				filter := update.Lookup("q").Document()
				count, err := server.Collection(m.collection()).CountDocuments(context.Background(), filter)
				if err != nil || count == 0 {
					continue
				}
				changed := message{body: update}
				changed.set("q", bson.D{{Key: "_id", Value: filter.Lookup("_id")}})
				list.documents[i] = changed.body
			}
		}
	}
}

func database(t *testing.T, uri string) *mongo.Database {
	t.Helper()
	client, err := mongo.Connect(t.Context(), options.Client().ApplyURI(uri))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	name := uri[strings.LastIndex(uri, "/")+1:]
	name, _, _ = strings.Cut(name, "?")
	return client.Database(name)
}

func countRecords(t *testing.T, uri string) int64 {
	t.Helper()
	count, err := database(t, uri).Collection("expiring_records").CountDocuments(t.Context(), bson.D{})
	require.NoError(t, err)
	return count
}

// TestIndexBuildTakesItsTime checks that an index build may take longer than a call, but not
// longer than the caller allows.
func TestIndexBuildTakesItsTime(t *testing.T) {
	slowly := &hooks{request: func(m *message) {
		if m.command() == "createIndexes" {
			time.Sleep(timeout / 2)
		}
	}}
	var log bytes.Buffer
	config := mongostore.Config{Timeout: timeout / 5, Logger: slog.New(slog.NewTextHandler(&log, nil))}

	p := newWireProxy(t, mongotest.URI(t))
	p.hooks.Store(slowly)
	ctx, cancel := context.WithTimeout(t.Context(), timeout/4)
	defer cancel()
	_, err := mongostore.Open(ctx, p.uri, config)
	assert.ErrorIs(t, err, context.DeadlineExceeded, "the caller's context ends it")

	log.Reset()
	p = newWireProxy(t, mongotest.URI(t))
	p.hooks.Store(slowly)
	backend, err := mongostore.Open(t.Context(), p.uri, config)
	require.NoError(t, err)
	assert.NoError(t, backend.Close())
	for _, index := range []string{"name_1", "email_key_1", "groups_1__id_1", "expires_1"} {
		assert.Contains(t, log.String(), "index="+index)
	}
	assert.Contains(t, log.String(), "minutes")
	log.Reset()
	backend, err = mongostore.Open(t.Context(), p.uri, config)
	require.NoError(t, err)
	assert.NoError(t, backend.Close())
	assert.Empty(t, log.String(), "what is there is not built again")
}

// TestServerRefusesGroupsIndex checks a server that refuses the index for lists of a group, for
// its two keys or altogether. The store works nevertheless.
func TestServerRefusesGroupsIndex(t *testing.T) {
	for _, refused := range []int{2, 1} { // this many keys or more
		uri := mongotest.URI(t)
		p := newWireProxy(t, uri)
		p.hooks.Store(&hooks{request: func(m *message) {
			if m.command() != "createIndexes" {
				return
			}
			index := m.body.Lookup("indexes", "0")
			keys, err := index.Document().Lookup("key").Document().Elements()
			if err == nil && keys[0].Key() == "groups" && len(keys) >= refused {
				m.set("indexes", "refused")
			}
		}})
		for range 2 { // the second time some indexes are there
			var log bytes.Buffer
			backend, err := mongostore.Open(t.Context(), p.uri, mongostore.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			require.NoError(t, err)
			assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
			assert.Contains(t, log.String(), "group")
			account := blank(fmt.Sprint("ada", log.Len()))
			account.ID, account.Groups = store.NewID(), []string{"g"}
			require.NoError(t, backend.Create(t.Context(), account))
			found, err := backend.List(t.Context(), store.List{By: store.ListByGroup, Match: "g", After: "", Limit: 10})
			require.NoError(t, err)
			require.NotEmpty(t, found)
			assert.Equal(t, account.ID, found[len(found)-1].ID)
			require.NoError(t, backend.Delete(t.Context(), account.ID))
			require.NoError(t, backend.Close())
		}
		cursor, err := database(t, uri).Collection("accounts").Indexes().List(t.Context())
		require.NoError(t, err)
		var indexes []bson.M
		require.NoError(t, cursor.All(t.Context(), &indexes))
		assert.Len(t, indexes, 2+refused, "%v", indexes) // _id, name, email_key, and perhaps groups
	}
}
