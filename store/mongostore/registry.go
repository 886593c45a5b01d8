package mongostore

import (
	"reflect"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/bsoncodec"
	"go.mongodb.org/mongo-driver/bson/bsonrw"
)

// registry decodes and encodes the documents, whatever the caller's client has been
// told to do with its own.
var registry = newRegistry()

// newRegistry reads a document in a member that is not known as a bson.D. The
// driver would make a map of it, and so change the order of its members with the
// next write.
func newRegistry() *bsoncodec.Registry {
	r := bson.NewRegistry()
	anything := reflect.TypeFor[any]()
	ordinary, err := r.LookupDecoder(anything)
	if err != nil {
		panic(err) // every registry has one
	}
	ordered, err := r.LookupDecoder(reflect.TypeFor[bson.D]())
	if err != nil {
		panic(err)
	}
	r.RegisterTypeDecoder(anything, bsoncodec.ValueDecoderFunc(func(dc bsoncodec.DecodeContext, vr bsonrw.ValueReader, into reflect.Value) error {
		if vr.Type() != bson.TypeEmbeddedDocument {
			return ordinary.DecodeValue(dc, vr, into)
		}
		document := reflect.New(reflect.TypeFor[bson.D]()).Elem()
		err := ordered.DecodeValue(dc, vr, document)
		into.Set(document)
		return err
	}))
	return r
}
