package mongostore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/oauthsv/oauthsv/store/transfer"
)

// clinkAccount is a document of clink, the system that this one succeeds. Its passwords are
// SHA-224 digests without salt.
type clinkAccount struct {
	ID         any       `bson:"_id"`
	Name       string    `bson:"name"`
	Digest     *string   `bson:"hashpwd"` // nil if it is missing
	Email      string    `bson:"email"`
	Phone      string    `bson:"phone"`
	Groups     []string  `bson:"groups"`
	Created    time.Time `bson:"created_date"`
	Modified   time.Time `bson:"modified_date"`
	LastAction time.Time `bson:"last_action"`
}

// clinkBatch is how many documents are read at once. It is small, because each needs the work
// of a login: a server ends a cursor that nobody asks for ten minutes.
const clinkBatch = 500

// ReadClink reads the accounts of clink for [transfer.Import], from a collection of the
// database that the URI names. It reads in order of _id, and numbers the documents in that
// order. A document that is no account is an error of its place: each needs an ObjectID as its
// _id, a name, an e-mail and a hashpwd. Errors hide what [Open] hides.
func ReadClink(ctx context.Context, uri, collection string) iter.Seq2[transfer.Numbered, error] {
	return func(yield func(transfer.Numbered, error) bool) {
		where, err := parseURI(uri)
		if err != nil {
			yield(transfer.Numbered{}, fmt.Errorf("%w: mongostore: %w", transfer.ErrSource, err))
			return
		}
		fail := func(number int, err error) {
			yield(transfer.Numbered{Number: number}, fmt.Errorf("%w: mongostore: collection %s of database %s at %s: %w",
				transfer.ErrSource, collection, where.database, where.hosts, where.redact(err)))
		}
		opening, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		client, err := connect(opening, uri)
		if err != nil {
			fail(0, err)
			return
		}
		defer disconnect(ctx, client)
		inOrder := options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetBatchSize(clinkBatch)
		cursor, err := client.Database(where.database).Collection(collection).Find(ctx, bson.D{}, inOrder)
		if err != nil {
			fail(0, err)
			return
		}
		defer cursor.Close(ctx)
		number := 0
		for cursor.Next(ctx) {
			number++
			record := transfer.Numbered{Number: number}
			var document clinkAccount
			err := cursor.Decode(&document)
			if err != nil {
				err = errors.New("the document is no account: a field has the wrong type") // err may quote a digest
			} else {
				record.Record, err = document.record()
			}
			if !yield(record, err) {
				return
			}
		}
		if err := cursor.Err(); err != nil {
			fail(number, err)
		}
	}
}

func (a *clinkAccount) record() (transfer.Record, error) {
	record := transfer.Record{
		Name: a.Name, Email: a.Email, Phone: a.Phone, Groups: a.Groups,
		Created: a.Created, Modified: a.Modified, LastAction: a.LastAction,
	}
	id, isID := a.ID.(primitive.ObjectID)
	if !isID {
		return record, errors.New("_id must be an ObjectID")
	}
	if a.Digest == nil {
		return record, errors.New("hashpwd is missing")
	}
	record.ID, record.SHA224 = id.Hex(), *a.Digest
	return record, nil
}
