package mongostore

import (
	"reflect"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/bsoncodec"
	"go.mongodb.org/mongo-driver/bson/bsonrw"
)

// registry decodes and encodes the documents of this package. The registry of the caller's
// client has no influence on them.
var registry = newRegistry()

// newRegistry makes a registry that decodes an unknown member as a bson.D if it is a
// document. The driver would decode it as a map, and so the next write would change the
// order of its members.
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
