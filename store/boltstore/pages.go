package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt trusts the pages that it reads, and so does its own check: a page number beyond the
// end of the file ends the whole process, on a goroutine where nobody can recover. So the
// code below reads the pages itself. It knows the layout of bbolt's files, version 2, and
// uses the file alone, without a memory map.

const (
	pageHeaderSize = 16 // id uint64, flags uint16, count uint16, overflow uint32
	elementSize    = 16 // of branch and leaf pages alike
	bucketSize     = 16 // root uint64, sequence uint64
	headerSize     = 64 // of a header page, after pageHeaderSize

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10
	flagBucket   = 0x01 // of an element of a leaf page

	noFreelist  = ^uint64(0)
	magic       = 0xED0CDAED
	boltVersion = 2
	maxPageSize = 1 << 16
)

var native = binary.NativeEndian

// header is one of the two header pages that bbolt writes in turn. The newer one points to
// the current state, the older one to the state before the last commit.
type header struct {
	pageSize                  uint64
	root, freelist, end, txid uint64 // end is the number of pages
}

// errOneHeader means that one of the two header pages is damaged. The other one may be the
// older one.
var errOneHeader = errors.New("one of its two header pages is damaged, so the last write may be missing; to open it nevertheless, set Config.AcceptLostWrite")

// readHeader returns the newer header. If one of the two is damaged, it returns the other
// one and errOneHeader.
func readHeader(file io.ReaderAt) (header, error) {
	first, firstMagic, firstWhole := headerAt(file, 0)
	if firstWhole {
		second, _, whole := headerAt(file, int64(first.pageSize))
		switch {
		case !whole || second.pageSize != first.pageSize:
			return first, errOneHeader
		case second.txid > first.txid:
			return second, nil
		}
		return first, nil
	}
	// The second header begins after one page, and the size of a page is not known.
	for offset := int64(512); offset <= maxPageSize; offset *= 2 {
		second, secondMagic, whole := headerAt(file, offset)
		if whole && second.pageSize == uint64(offset) {
			return second, errOneHeader
		}
		firstMagic = firstMagic || secondMagic
	}
	if !firstMagic {
		return header{}, ErrForeign
	}
	return header{}, fmt.Errorf("%w (both header pages)", ErrDamaged)
}

// headerAt reads a header page. known reports whether it begins like one, and whole whether
// it is an undamaged one.
func headerAt(file io.ReaderAt, offset int64) (h header, known, whole bool) {
	text := make([]byte, pageHeaderSize+headerSize)
	if _, err := file.ReadAt(text, offset); err != nil {
		return h, false, false
	}
	text = text[pageHeaderSize:]
	sum := fnv.New64a()
	sum.Write(text[:headerSize-8])
	h = header{
		pageSize: uint64(native.Uint32(text[8:])),
		root:     native.Uint64(text[16:]),
		freelist: native.Uint64(text[32:]),
		end:      native.Uint64(text[40:]),
		txid:     native.Uint64(text[48:]),
	}
	known = native.Uint32(text) == magic
	whole = known && native.Uint32(text[4:]) == boltVersion &&
		native.Uint64(text[headerSize-8:]) == sum.Sum64() &&
		h.pageSize >= 512 && h.pageSize <= maxPageSize && h.pageSize&(h.pageSize-1) == 0
	return h, known, whole
}

// pages reads the pages of a file, each at most once, and remembers which it has seen.
type pages struct {
	file io.ReaderAt
	header
	seen  []uint64 // a bit for each page
	found uint64   // how many bits are set
	space []byte
}

func newPages(file *os.File, h header) (*pages, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if size := uint64(info.Size()); h.end > size/h.pageSize {
		return nil, fmt.Errorf("the file has %d bytes, but should have %d pages of %d bytes", size, h.end, h.pageSize)
	}
	p := &pages{file: file, header: h, seen: make([]uint64, h.end/64+1), space: make([]byte, h.pageSize)}
	return p, nil
}

// mark remembers that a page is in use. It returns an error if there is no such page, or if
// the page is already in use for something else.
func (p *pages) mark(id uint64) error {
	if id < 2 || id >= p.end {
		return fmt.Errorf("page %d does not exist", id)
	}
	if bit := uint64(1) << (id % 64); p.seen[id/64]&bit == 0 {
		p.seen[id/64] |= bit
		p.found++
		return nil
	}
	return fmt.Errorf("page %d is in use twice", id)
}

// read returns a page with its overflow pages. The page must be of a kind in flags. The
// result is valid until the next call of read.
func (p *pages) read(id uint64, flags uint16) ([]byte, error) {
	if err := p.mark(id); err != nil {
		return nil, err
	}
	page := p.space[:p.pageSize]
	if _, err := p.file.ReadAt(page, int64(id*p.pageSize)); err != nil {
		return nil, err
	}
	overflow := uint64(native.Uint32(page[12:]))
	kind := native.Uint16(page[8:])
	if native.Uint64(page) != id || kind&flags == 0 || kind&(kind-1) != 0 || overflow >= p.end-id {
		return nil, fmt.Errorf("page %d is not the page that should be there", id)
	}
	if overflow == 0 {
		return page, nil
	}
	for i := id + 1; i <= id+overflow; i++ {
		if err := p.mark(i); err != nil {
			return nil, err
		}
	}
	if size := (overflow + 1) * p.pageSize; uint64(cap(p.space)) < size {
		p.space = make([]byte, size)
	}
	page = p.space[:(overflow+1)*p.pageSize]
	_, err := p.file.ReadAt(page, int64(id*p.pageSize))
	return page, err
}

// readFreeList marks the free pages, if the file has a list of them.
func (p *pages) readFreeList() error {
	if p.freelist == noFreelist {
		return nil
	}
	page, err := p.read(p.freelist, flagFreelist)
	if err != nil {
		return err
	}
	count, list := uint64(native.Uint16(page[10:])), page[pageHeaderSize:]
	if count == 0xFFFF { // the count does not fit into the field and comes first in the list
		count, list = native.Uint64(list), list[8:]
	}
	if count > uint64(len(list))/8 {
		return errors.New("the list of free pages is cut short")
	}
	for i := range count {
		if err := p.mark(native.Uint64(list[8*i:])); err != nil {
			return err
		}
	}
	return nil
}

// checkAllSeen checks that each page is in use or free.
func (p *pages) checkAllSeen() error {
	if p.freelist != noFreelist && p.found != p.end-2 {
		return fmt.Errorf("%d pages are neither in use nor free", p.end-2-p.found)
	}
	return nil
}

// element is an entry of a branch or leaf page.
type element struct {
	bucket     bool
	key, value []byte
	child      uint64
}

// elements calls each with the elements of a page, in order. bbolt leaves no gaps between
// keys and values, so elements can detect a wrong length or position.
func elements(page []byte, each func(element) error) error {
	if len(page) < pageHeaderSize {
		return errors.New("a page is cut short")
	}
	flags, count := native.Uint16(page[8:]), uint64(native.Uint16(page[10:]))
	at := pageHeaderSize + count*elementSize
	if flags != flagBranch && flags != flagLeaf || at > uint64(len(page)) || flags == flagBranch && count == 0 {
		return errors.New("a page is malformed")
	}
	for i := range count {
		start := pageHeaderSize + i*elementSize
		head := page[start : start+elementSize]
		var e element
		var position, keySize, valueSize uint64
		if flags == flagBranch {
			position, keySize = uint64(native.Uint32(head)), uint64(native.Uint32(head[4:]))
			e.child = native.Uint64(head[8:])
		} else {
			position, keySize, valueSize = uint64(native.Uint32(head[4:])), uint64(native.Uint32(head[8:])), uint64(native.Uint32(head[12:]))
			e.bucket = native.Uint32(head) == flagBucket
			if native.Uint32(head)&^flagBucket != 0 {
				return errors.New("an element has an unknown kind")
			}
		}
		if start+position != at || keySize == 0 || at+keySize+valueSize > uint64(len(page)) {
			return errors.New("the elements of a page do not fit together")
		}
		e.key, e.value = page[at:at+keySize], page[at+keySize:at+keySize+valueSize]
		at += keySize + valueSize
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}
