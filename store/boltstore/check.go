package boltstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"slices"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"

	"github.com/oauthsv/oauthsv/store"
)

// check checks a whole file. Each page must be free or in use exactly once, the keys must be
// in order, each entry must have its checksum, and the indexes must agree with the
// records. It needs memory for one bit for each page, and for the keys of one level of
// branch pages.
type check struct {
	*pages
	buckets  map[string][]byte // the buckets of the file, in bbolt's form
	layout   layout
	seed     maphash.Seed
	expected map[*table]*tally // the entries that an index should have, from the records
	indexed  map[*table]*tally // the entries that it has
}

// tally adds up hashes of entries. If two sets of entries have the same tally, they are
// taken for the same set. By chance that is wrong once in 2^64 cases.
type tally struct{ count, sum uint64 }

func newCheck(file *os.File, h header) (*check, error) {
	p, err := newPages(file, h)
	if err != nil {
		return nil, err
	}
	c := &check{pages: p, buckets: make(map[string][]byte), seed: maphash.MakeSeed(), expected: make(map[*table]*tally), indexed: make(map[*table]*tally)}
	for _, t := range tables {
		c.expected[t], c.indexed[t] = new(tally), new(tally)
	}
	return c, nil
}

// begin checks what bbolt reads when it opens a file: the list of free pages and the list of
// buckets. It returns the layout of the other entries.
func (c *check) begin() (layout, error) {
	if err := c.readFreeList(); err != nil {
		return layout{}, damaged(err)
	}
	err := c.walk(context.Background(), tree{root: c.root, each: func(e element) error {
		if !e.bucket || len(e.value) < bucketSize {
			return errors.New("the list of buckets holds something else")
		}
		c.buckets[string(e.key)] = bytes.Clone(e.value)
		return nil
	}})
	if err != nil {
		return layout{}, damaged(err)
	}
	entries := make(map[string]string)
	if c.buckets[string(bucketMeta)] == nil {
		return layout{}, ErrForeign
	}
	err = c.walk(context.Background(), c.tree(bucketMeta, func(e element) error {
		entries[string(e.key)] = string(e.value)
		return nil
	}))
	if err != nil {
		return layout{}, damaged(err)
	}
	if c.layout, err = parseLayout(entries); err != nil {
		return layout{}, err
	}
	for _, t := range tables {
		if t == tableGroups && c.layout.format < 3 {
			continue // the upgrade makes it
		}
		if c.buckets[string(t.name)] == nil {
			return layout{}, damaged(fmt.Errorf("the table of %s is missing", t.name))
		}
	}
	return c.layout, nil
}

// finish checks everything else. If ctx ends, it returns early, with an error that says nothing
// about the file.
func (c *check) finish(ctx context.Context) error {
	var forest []tree
	for name := range c.buckets {
		if name == string(bucketMeta) {
			continue // begin has checked it
		}
		each := func(element) error { return nil } // a bucket that this version does not know
		if i := slices.IndexFunc(tables, func(t *table) bool { return string(t.name) == name }); i >= 0 {
			each = func(e element) error { return c.entry(i, e) }
		}
		forest = append(forest, c.tree([]byte(name), each))
	}
	if err := c.walk(ctx, forest...); err != nil {
		return damaged(err)
	}
	if err := c.checkAllSeen(); err != nil {
		return damaged(err)
	}
	for _, t := range tables {
		if *c.expected[t] != *c.indexed[t] {
			return damaged(fmt.Errorf("the index of %s does not agree with the records", t.name))
		}
	}
	return nil
}

// entry checks an entry of a table.
func (c *check) entry(index int, e element) error {
	t, value, whole := tables[index], e.value, true
	old := c.layout.old(index, e.key)
	if !old {
		value, whole = t.unseal(e.key, e.value)
	}
	if e.bucket || !whole {
		return fmt.Errorf("an entry of %s has a wrong checksum", t.name)
	}
	if t == tableAccounts {
		return c.account(e.key, value, old)
	}
	if t == tableRecords {
		if len(value) < expirySize {
			return errors.New("a record has no expiry")
		}
		c.add(c.expected, tableExpiries, value[:expirySize], e.key)
		return nil
	}
	if t == tableGroups {
		at := len(e.key) - len(store.NilID)
		if at < 1 || e.key[at-1] != 0 || len(value) > 0 {
			return errors.New("an entry of groups is malformed")
		}
		c.add(c.indexed, t, e.key[at:], e.key[:at-1])
		return nil
	}
	if t == tableExpiries {
		if len(e.key) <= expirySize || len(value) > 0 {
			return errors.New("an expiry is malformed")
		}
		c.add(c.indexed, t, e.key[:expirySize], e.key[expirySize:])
		return nil
	}
	if len(value) != len(store.NilID) {
		return fmt.Errorf("an entry of %s is malformed", t.name)
	}
	c.add(c.indexed, t, value, e.key)
	return nil
}

func (c *check) account(key, text []byte, old bool) error {
	var id primitive.ObjectID
	raw := bson.Raw(text)
	name, isName := raw.Lookup("name").StringValueOK()
	email, isEmail := raw.Lookup("email_key").StringValueOK()
	id, isID := raw.Lookup("_id").ObjectIDOK()
	if !isName || !isEmail || !isID || !bytes.Equal(id[:], key) {
		return fmt.Errorf("account %x is malformed", key)
	}
	if old { // without a checksum, check the rest of the record
		if err := errors.Join(raw.Validate(), bson.Unmarshal(text, new(store.Account))); err != nil {
			return fmt.Errorf("account %x is malformed: %w", key, err)
		}
	}
	groups, err := groupsOf(raw)
	if err != nil {
		return fmt.Errorf("account %x is malformed: %w", key, err)
	}
	if c.layout.grouped(key) {
		for _, group := range groups {
			c.add(c.expected, tableGroups, key, []byte(group))
		}
	}
	if name != "" {
		c.add(c.expected, tableNames, key, []byte(name))
	}
	if email != "" {
		c.add(c.expected, tableEmails, key, []byte(email))
	}
	return nil
}

// add adds an entry of an index to its tally. The entry is hashed in two parts, of which the
// first has the same length in all entries of t.
func (c *check) add(side map[*table]*tally, t *table, first, second []byte) {
	var hash maphash.Hash
	hash.SetSeed(c.seed)
	hash.Write(first)
	hash.Write(second)
	side[t].count++
	side[t].sum += hash.Sum64()
}

// tree is a tree of pages. A small one is a single page inside a value.
type tree struct {
	root   uint64
	inline []byte
	each   func(element) error // called with each element of a leaf, in no particular order
}

// tree returns the tree of a bucket. The page of a small bucket is inside its parent's value.
func (c *check) tree(name []byte, each func(element) error) tree {
	value := c.buckets[string(name)]
	return tree{root: native.Uint64(value), inline: value[bucketSize:], each: each}
}

// branch is a page to read, and the bounds of the keys in it.
type branch struct {
	id         uint64
	tree       *tree
	least, end []byte // nil if there is no bound
}

// walk reads trees level by level, and each level in order of page numbers. So it reads the
// file a few times from its beginning to its end, and not at random.
func (c *check) walk(ctx context.Context, forest ...tree) error {
	var level []branch
	for i := range forest {
		t := &forest[i]
		if t.root != 0 {
			level = append(level, branch{id: t.root, tree: t})
		} else if err := c.page(t.inline, branch{tree: t}, nil); err != nil {
			return err
		}
	}
	for len(level) > 0 {
		slices.SortFunc(level, func(a, b branch) int { return cmp.Compare(a.id, b.id) })
		var next []branch
		for _, b := range level {
			if err := ctx.Err(); err != nil {
				return err
			}
			page, err := c.read(b.id, flagBranch|flagLeaf)
			if err != nil {
				return err
			}
			if err := c.page(page, b, &next); err != nil {
				return fmt.Errorf("page %d: %w", b.id, err)
			}
		}
		level = next
	}
	return nil
}

func (c *check) page(page []byte, b branch, next *[]branch) error {
	isBranch := len(page) >= pageHeaderSize && native.Uint16(page[8:]) == flagBranch
	if isBranch {
		if next == nil {
			return errors.New("a page inside a value points to other pages")
		}
		page = bytes.Clone(page) // the next level keeps its keys as bounds
	}
	previous, begun := b.least, false
	children := 0
	err := elements(page, func(e element) error {
		order := bytes.Compare(previous, e.key)
		if previous != nil && (order > 0 || order == 0 && begun) || b.end != nil && bytes.Compare(e.key, b.end) >= 0 {
			return errors.New("the keys are not in order")
		}
		previous, begun = e.key, true
		if !isBranch {
			return b.tree.each(e)
		}
		if children > 0 {
			(*next)[len(*next)-1].end = e.key
		}
		*next = append(*next, branch{id: e.child, tree: b.tree, least: e.key, end: b.end})
		children++
		return nil
	})
	return err
}

func damaged(err error) error { return fmt.Errorf("%w (%w)", ErrDamaged, err) }
