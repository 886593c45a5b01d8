package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"

	"github.com/oauthsv/oauthsv/store"
)

// table is a bucket whose every value ends with a checksum over the name of the
// bucket, the key and the rest of the value. So an entry that was damaged, or that
// came to stand under another key or in another bucket, is never taken for a right
// one.
//
// CRC-32C finds every damage within 32 adjacent bits and lets one in four billion
// others pass. That is enough against failing disks. It is none against people: who
// can write to the file can compute checksums, too.
type table struct {
	name []byte
	seed uint32
}

const sumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newTable(name string) *table {
	return &table{name: []byte(name), seed: crc32.Checksum([]byte(name), castagnoli)}
}

// The tables, and what their keys and values are. An upgrade goes through them in
// this order.
var (
	tableAccounts = newTable("accounts") // ObjectID -> BSON of store.Account
	tableNames    = newTable("names")    // Account.Name -> ObjectID
	tableEmails   = newTable("emails")   // Account.EmailKey -> ObjectID
	tableRecords  = newTable("records")  // key -> expiry, value
	tableExpiries = newTable("expiries") // expiry, key -> nothing

	tables = []*table{tableAccounts, tableNames, tableEmails, tableRecords, tableExpiries}
)

func (t *table) sum(key, value []byte) uint32 {
	sum := crc32.Update(t.seed, castagnoli, key)
	sum = crc32.Update(sum, castagnoli, value)
	// The length keeps apart two entries whose keys and values are the same bytes
	// but for where the key ends.
	return sum ^ uint32(len(key))*0x9E3779B1
}

// seal is the value with its checksum, in new memory.
func (t *table) seal(key, value []byte) []byte {
	sealed := make([]byte, 0, len(value)+sumSize)
	sealed = append(sealed, value...)
	return binary.LittleEndian.AppendUint32(sealed, t.sum(key, value))
}

// unseal is the value without its checksum, and whether that was right.
func (t *table) unseal(key, sealed []byte) (value []byte, whole bool) {
	n := len(sealed) - sumSize
	if n < 0 || binary.LittleEndian.Uint32(sealed[n:]) != t.sum(key, sealed[:n]) {
		return nil, false
	}
	return sealed[:n], true
}

// get appends the value of the key to space and returns it, or nil where there is
// no such key. It copies first and verifies the copy, for what is in the memory map
// may change under it.
func (t *table) get(tx *bbolt.Tx, key, space []byte) ([]byte, error) {
	bucket := tx.Bucket(t.name)
	if bucket == nil {
		return nil, damage("the table of %s is gone", t.name)
	}
	found := bucket.Get(key)
	if found == nil {
		return nil, t.absent(bucket, key)
	}
	value, whole := t.unseal(key, append(space, found...))
	if !whole {
		return nil, damage("an entry of %s does not have its checksum", t.name)
	}
	return value, nil
}

// absent checks that a key that was not found is not there. The entries between
// which it would stand must be whole and in order: then the search that led there
// was not led astray.
func (t *table) absent(bucket *bbolt.Bucket, key []byte) error {
	cursor := bucket.Cursor()
	next, value := cursor.Seek(key)
	if next != nil {
		if _, whole := t.unseal(next, value); !whole || bytes.Compare(next, key) <= 0 {
			return damage("the order of %s is broken", t.name)
		}
	}
	var previous []byte
	if next == nil {
		previous, value = cursor.Last()
	} else {
		previous, value = cursor.Prev()
	}
	if previous != nil {
		if _, whole := t.unseal(previous, value); !whole || bytes.Compare(previous, key) >= 0 {
			return damage("the order of %s is broken", t.name)
		}
	}
	return nil
}

// damage is the answer of a call that met damage.
func damage(format string, args ...any) error {
	return fmt.Errorf("%w: boltstore: %s: %w", store.ErrUnavailable, fmt.Sprintf(format, args...), ErrDamaged)
}
