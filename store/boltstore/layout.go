package boltstore

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"go.etcd.io/bbolt"
)

// format is the version of the layout of buckets and records. It grows with a change that
// an older program would misread or destroy.
//
// In format 1 values had no checksums. Open upgrades such a file.
const format = 2

// The bucket "meta", and its keys.
var (
	bucketMeta  = []byte("meta")
	metaFormat  = []byte("format")  // decimal number
	metaUpgrade = []byte("upgrade") // how far an upgrade has come; absent if none is under way
	metaSum     = []byte("sum")     // checksum of the two above
	metaProbe   = []byte("probe")   // what Ping has written
)

var tableMeta = newTable("meta")

// layout says which entries of a file have a checksum, and can be in the middle of an
// upgrade.
type layout struct {
	format int
	// upgrade is the last entry that has been upgraded: an index in tables, then a key.
	// It is nil before and after an upgrade.
	upgrade []byte
}

// parseLayout returns the layout that the entries of the bucket "meta" describe.
func parseLayout(entries map[string]string) (layout, error) {
	number, err := strconv.Atoi(entries[string(metaFormat)])
	sum, hasSum := entries[string(metaSum)]
	upgrade, upgrading := entries[string(metaUpgrade)]
	switch {
	case err != nil || number < 1:
		return layout{}, ErrForeign
	case number > format:
		return layout{}, ErrNewer
	case number == 1 && !hasSum && !upgrading:
		return layout{format: 1}, nil
	}
	l := layout{format: number}
	if upgrading {
		l.upgrade = []byte(upgrade)
	}
	if number == 1 || string(l.sum()) != sum || upgrading && (len(upgrade) == 0 || int(upgrade[0]) >= len(tables)) {
		return layout{}, ErrDamaged
	}
	return l, nil
}

func (l layout) sum() []byte {
	return binary.LittleEndian.AppendUint32(nil, tableMeta.sum([]byte(strconv.Itoa(l.format)), l.upgrade))
}

// write stores the layout.
func (l layout) write(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if err := meta.Put(metaFormat, []byte(strconv.Itoa(l.format))); err != nil {
		return err
	}
	if l.upgrade == nil {
		if err := meta.Delete(metaUpgrade); err != nil {
			return err
		}
	} else if err := meta.Put(metaUpgrade, l.upgrade); err != nil {
		return err
	}
	return meta.Put(metaSum, l.sum())
}

// old reports whether an entry has no checksum yet.
func (l layout) old(index int, key []byte) bool {
	switch {
	case l.format == 1:
		return true
	case l.upgrade == nil:
		return false
	case index != int(l.upgrade[0]):
		return index > int(l.upgrade[0])
	}
	return bytes.Compare(key, l.upgrade[1:]) > 0
}

// upgradeStep is how many entries one transaction of an upgrade changes.
const upgradeStep = 2000

// upgradeFile gives each entry its checksum. The first transaction raises the format, so
// that an older program refuses the file from then on. Each transaction notes how far it
// has come, so that the next opening continues an interrupted upgrade.
func upgradeFile(db *bbolt.DB, l layout) error {
	if l.format == 1 {
		l = layout{format: format, upgrade: []byte{0}}
		if err := db.Update(l.write); err != nil {
			return err
		}
	}
	for l.upgrade != nil {
		err := db.Update(func(tx *bbolt.Tx) error {
			var err error
			if l.upgrade, err = upgradeEntries(tx, int(l.upgrade[0]), l.upgrade[1:]); err != nil {
				return err
			}
			return l.write(tx)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// upgradeEntries upgrades the next entries of one table, those after the key last. It
// returns how far the upgrade has come, or nil at its end.
func upgradeEntries(tx *bbolt.Tx, index int, last []byte) ([]byte, error) {
	t := tables[index]
	bucket := tx.Bucket(t.name)
	var keys, values [][]byte
	cursor := bucket.Cursor()
	key, value := cursor.First()
	if len(last) > 0 {
		if key, value = cursor.Seek(last); bytes.Equal(key, last) {
			key, value = cursor.Next()
		}
	}
	for ; key != nil && len(keys) < upgradeStep; key, value = cursor.Next() {
		keys, values = append(keys, bytes.Clone(key)), append(values, t.seal(key, value))
	}
	for i, key := range keys {
		if err := bucket.Put(key, values[i]); err != nil {
			return nil, err
		}
	}
	switch {
	case len(keys) == upgradeStep:
		return append([]byte{byte(index)}, keys[len(keys)-1]...), nil
	case index+1 < len(tables):
		return []byte{byte(index + 1)}, nil
	}
	return nil, nil
}

// layOut makes the buckets of a new file.
func layOut(tx *bbolt.Tx) error {
	names := [][]byte{bucketMeta}
	for _, t := range tables {
		names = append(names, t.name)
	}
	for _, name := range names {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return layout{format: format}.write(tx)
}
