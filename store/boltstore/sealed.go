package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"

	"github.com/oauthsv/oauthsv/store"
)

// table is a bucket in which every value ends with a checksum over the name of the bucket,
// the key and the rest of the value. So the checksum also finds an entry that stands under
// the wrong key or in the wrong bucket.
//
// CRC-32C finds all damage within 32 adjacent bits, and misses one case of other damage in
// four billion. That is enough against failing disks. It does not protect against people:
// a person who can write to the file can also compute checksums.
type table struct {
	name []byte
	seed uint32
}

const sumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newTable(name string) *table {
	return &table{name: []byte(name), seed: crc32.Checksum([]byte(name), castagnoli)}
}

// The tables, with their keys and values. An upgrade goes through them in this order.
//
// In the table of groups a zero byte stands between the group and the id. The id has a fixed
// length, so two entries never have the same key.
var (
	tableAccounts = newTable("accounts") // ObjectID -> BSON of store.Account
	tableNames    = newTable("names")    // Account.Name -> ObjectID
	tableEmails   = newTable("emails")   // Account.EmailKey -> ObjectID
	tableRecords  = newTable("records")  // key -> expiry, value
	tableExpiries = newTable("expiries") // expiry, key -> nothing
	tableGroups   = newTable("groups")   // each of Account.Groups, 0, ObjectID -> nothing

	tables = []*table{tableAccounts, tableNames, tableEmails, tableRecords, tableExpiries, tableGroups}
)

func (t *table) sum(key, value []byte) uint32 {
	sum := crc32.Update(t.seed, castagnoli, key)
	sum = crc32.Update(sum, castagnoli, value)
	// The length of the key is for two entries that have the same bytes and differ only
	// in where the key ends.
	return sum ^ uint32(len(key))*0x9E3779B1
}

// seal returns the value with its checksum, in new memory.
func (t *table) seal(key, value []byte) []byte {
	sealed := make([]byte, 0, len(value)+sumSize)
	sealed = append(sealed, value...)
	return binary.LittleEndian.AppendUint32(sealed, t.sum(key, value))
}

// unseal returns the value without its checksum, and whether the checksum is right.
func (t *table) unseal(key, sealed []byte) (value []byte, whole bool) {
	n := len(sealed) - sumSize
	if n < 0 || binary.LittleEndian.Uint32(sealed[n:]) != t.sum(key, sealed[:n]) {
		return nil, false
	}
	return sealed[:n], true
}

// get appends the value of the key to space and returns it, or nil if there is no such key.
// It verifies a copy of the value, because the memory map may change in the meantime.
func (t *table) get(tx *bbolt.Tx, key, space []byte) ([]byte, error) {
	bucket := tx.Bucket(t.name)
	if bucket == nil {
		return nil, metDamage("the table of %s is missing", t.name)
	}
	found := bucket.Get(key)
	if found == nil {
		return nil, t.checkAbsent(bucket, key)
	}
	value, whole := t.unseal(key, append(space, found...))
	if !whole {
		return nil, metDamage("an entry of %s has a wrong checksum", t.name)
	}
	return value, nil
}

// checkAbsent checks that a key that was not found is really absent. The entry before its
// place and the entry after it must be undamaged and in order. Otherwise damage may have
// led the search to the wrong place.
func (t *table) checkAbsent(bucket *bbolt.Bucket, key []byte) error {
	cursor := bucket.Cursor()
	next, value := cursor.Seek(key)
	if next != nil {
		if _, whole := t.unseal(next, value); !whole || bytes.Compare(next, key) <= 0 {
			return t.outOfOrder()
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
			return t.outOfOrder()
		}
	}
	return nil
}

// metDamage returns the error of a call that met damage.
func metDamage(format string, args ...any) error {
	return fmt.Errorf("%w: boltstore: %s: %w", store.ErrUnavailable, fmt.Sprintf(format, args...), ErrDamaged)
}
