package boltstore

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"go.etcd.io/bbolt"
)

// format is the version of the layout of buckets and records. It grows with a change that
// an older program would misread or destroy. Open upgrades a file of an older format.
//
// In format 1 values had no checksums. In format 2 there was no table of groups, and a program
// of that time would not keep it up to date.
const format = 3

// The bucket "meta", and its keys.
var (
	bucketMeta  = []byte("meta")
	metaFormat  = []byte("format")  // decimal number
	metaUpgrade = []byte("upgrade") // how far an upgrade has come; absent if none is under way
	metaSum     = []byte("sum")     // checksum of the two above
	metaProbe   = []byte("probe")   // what Ping has written
)

var tableMeta = newTable("meta")

// layout says which entries of a file have a checksum and which accounts are in the table of
// groups. It can be in the middle of an upgrade.
type layout struct {
	format int
	// upgrade is the last entry that has been upgraded: an index in tables, then a key.
	// For the index of the table of groups, which the upgrade builds, the key is that of
	// an account. upgrade is nil before and after an upgrade.
	upgrade []byte
}

// groupsIndex is the index of the table of groups in tables.
const groupsIndex = 5

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
	steps := len(tables)
	if number < 3 {
		steps = groupsIndex
	}
	if number == 1 || string(l.sum()) != sum || upgrading && (len(upgrade) == 0 || int(upgrade[0]) >= steps) {
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

// old reports whether an entry has no checksum yet. The table of groups never had entries
// without.
func (l layout) old(index int, key []byte) bool {
	switch {
	case index == groupsIndex:
		return false
	case l.format == 1:
		return true
	case l.upgrade == nil:
		return false
	case index != int(l.upgrade[0]):
		return index > int(l.upgrade[0])
	}
	return bytes.Compare(key, l.upgrade[1:]) > 0
}

// grouped reports whether an account is in the table of groups already.
func (l layout) grouped(id []byte) bool {
	switch {
	case l.format < 3:
		return false
	case l.upgrade == nil:
		return true
	}
	return l.upgrade[0] == groupsIndex && bytes.Compare(id, l.upgrade[1:]) <= 0
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
