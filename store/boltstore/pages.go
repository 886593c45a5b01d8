package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt's own check follows page numbers before it has looked at them: one that
// leads past the end of the file, or back to where it came from, ends the whole
// process on a goroutine that nobody can recover. checkPages looks first. It
// knows the layout of bbolt's files, version 2, and reads through the file alone.

const (
	pageHeaderSize = 16 // id uint64, flags uint16, count uint16, overflow uint32
	elementSize    = 16 // of branch and leaf pages alike
	bucketSize     = 16 // root uint64, sequence uint64
	metaSize       = 64

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10
	flagBucket   = 0x01 // of a leaf element

	noFreelist = ^uint64(0)
	magic      = 0xED0CDAED
)

var native = binary.NativeEndian

var errPage = errors.New("a page does not hold together")

// pages is a file under check.
type pages struct {
	file     io.ReaderAt
	pageSize uint64
	end      uint64 // the first page number that is not in use
	seen     map[uint64]bool
}

func checkPages(file *os.File) error {
	meta, err := readMeta(file)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	p := &pages{file: file, pageSize: uint64(meta.pageSize), end: meta.end, seen: make(map[uint64]bool)}
	if size := uint64(info.Size()); p.end > size/p.pageSize {
		return fmt.Errorf("%d bytes where %d pages of %d are in use", size, p.end, p.pageSize)
	}
	if meta.freelist != noFreelist {
		if _, err := p.read(meta.freelist, flagFreelist); err != nil {
			return err
		}
	}
	return p.walk(meta.root)
}

type metaPage struct {
	pageSize                  uint32
	root, freelist, end, txid uint64
}

// readMeta returns the newer of the two meta pages that are whole, as bbolt
// chooses.
func readMeta(file io.ReaderAt) (newest metaPage, err error) {
	found := false
	// The second page begins where the first one's page size says; if the first
	// is damaged, bbolt tries the sizes that there are.
	for offset := int64(0); offset <= 64<<10; offset = max(1024, 2*offset) {
		text := make([]byte, pageHeaderSize+metaSize)
		if _, err := file.ReadAt(text, offset); err != nil {
			break
		}
		text = text[pageHeaderSize:]
		sum := fnv.New64a()
		sum.Write(text[:metaSize-8])
		if native.Uint32(text) != magic || native.Uint64(text[metaSize-8:]) != sum.Sum64() {
			continue
		}
		meta := metaPage{
			pageSize: native.Uint32(text[8:]),
			root:     native.Uint64(text[16:]),
			freelist: native.Uint64(text[32:]),
			end:      native.Uint64(text[40:]),
			txid:     native.Uint64(text[48:]),
		}
		if meta.pageSize < 512 || offset != 0 && offset != int64(meta.pageSize) {
			continue
		}
		if !found || meta.txid > newest.txid {
			newest, found = meta, true
		}
	}
	if !found {
		return newest, errors.New("no whole meta page")
	}
	return newest, nil
}

// read returns a page of the kind that flags say, with its overflow, once.
func (p *pages) read(id uint64, flags uint16) ([]byte, error) {
	if id < 2 || id >= p.end || p.seen[id] {
		return nil, errPage
	}
	head := make([]byte, pageHeaderSize)
	if _, err := p.file.ReadAt(head, int64(id*p.pageSize)); err != nil {
		return nil, err
	}
	overflow := uint64(native.Uint32(head[12:]))
	if native.Uint64(head) != id || native.Uint16(head[8:])&flags == 0 || overflow >= p.end-id {
		return nil, errPage
	}
	for i := id; i <= id+overflow; i++ {
		if p.seen[i] {
			return nil, errPage
		}
		p.seen[i] = true
	}
	page := make([]byte, (overflow+1)*p.pageSize)
	_, err := p.file.ReadAt(page, int64(id*p.pageSize))
	return page, err
}

func (p *pages) walk(id uint64) error {
	page, err := p.read(id, flagBranch|flagLeaf)
	if err != nil {
		return err
	}
	return p.elements(page)
}

// elements checks that the elements of a page lie within it, and follows those
// that lead on.
func (p *pages) elements(page []byte) error {
	if len(page) < pageHeaderSize {
		return errPage
	}
	flags, count := native.Uint16(page[8:]), int(native.Uint16(page[10:]))
	if flags != flagBranch && flags != flagLeaf || pageHeaderSize+count*elementSize > len(page) || flags == flagBranch && count == 0 {
		return errPage
	}
	for i := range count {
		at := uint64(pageHeaderSize + i*elementSize)
		element := page[at : at+elementSize]
		if flags == flagBranch {
			start := at + uint64(native.Uint32(element))
			if start+uint64(native.Uint32(element[4:])) > uint64(len(page)) {
				return errPage
			}
			if err := p.walk(native.Uint64(element[8:])); err != nil {
				return err
			}
			continue
		}
		start := at + uint64(native.Uint32(element[4:])) + uint64(native.Uint32(element[8:]))
		end := start + uint64(native.Uint32(element[12:]))
		if end > uint64(len(page)) {
			return errPage
		}
		if native.Uint32(element)&flagBucket != 0 {
			if err := p.bucket(page[start:end]); err != nil {
				return err
			}
		}
	}
	return nil
}

// bucket follows a bucket to its root page, or into the page within its value
// where it is small.
func (p *pages) bucket(value []byte) error {
	if len(value) < bucketSize {
		return errPage
	}
	if root := native.Uint64(value); root != 0 {
		return p.walk(root)
	}
	return p.elements(value[bucketSize:])
}
