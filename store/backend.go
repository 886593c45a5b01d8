package store

import (
	"context"
	"time"
)

// Backend keeps the records. Implement it to keep accounts in a database of your own,
// for example in a table, and check the implementation with package storetest. A
// backend knows no rules, but the rules of [Accounts] rest on these promises:
//
//   - The key of an account is its [ID], an ObjectID of 12 bytes. It is chosen before
//     Create, so the database must not generate another one.
//   - Name and EmailKey are unique. They arrive prepared (see [PrepareName] and
//     [PrepareEmail]), so compare them byte for byte. Email is kept as well, as the user
//     wrote it.
//   - Sessions are part of the account's record: one read returns them with the
//     account, and one write replaces both. In a table, for example, one column holds
//     all sessions of the account, encoded.
//   - Reads never lag. A read sees every write that any process completed before the
//     read began. So do not read from a replica that may be behind: it would undo a
//     revocation.
//   - Update compares and swaps: it never overwrites a change that it has not read. In
//     a table, for example, a version column makes that possible.
//   - Every member of Account and Session is kept, also one that a later version of this
//     package adds. So if a table has a column for each member, encode the others into
//     one more column. Account.Unknown, Session.Unknown and Account.Format are kept too,
//     so that an older program does not destroy what a newer one wrote. See [Account].
//   - An empty Groups or Sessions is returned empty, not nil.
//
// A Name has at most 64 characters, an EmailKey 254 bytes, a PasswordHash 1,024 bytes, and
// a group 64 ASCII characters. Config.MaxSessions bounds the sessions: 32 of them take about
// 10 KB.
//
// All methods are safe for concurrent use and honour their context. A method that
// cannot do its work returns an error that matches [ErrUnavailable], or the error of its
// context. Any other error that is not named here is treated like one.
//
// An *Account that a method returns is a snapshot: neither the backend nor the caller
// changes it.
type Backend interface {
	// FindByID, FindByName and FindByEmail read one record, by its ID, Name or
	// EmailKey. They return ErrNotFound if there is none.
	FindByID(ctx context.Context, id ID) (*Account, error)
	FindByName(ctx context.Context, name string) (*Account, error)
	FindByEmail(ctx context.Context, emailKey string) (*Account, error)

	// Create adds a record. It returns an *ExistsError if another record has the same
	// Name, EmailKey or ID. Its field is the first of "name", "email" and "account_id"
	// that is taken. If several callers create accounts with the same Name, EmailKey or
	// ID at once, exactly one succeeds. After any other error the record is there
	// completely, or not at all.
	Create(ctx context.Context, account *Account) error

	// Update changes one record. It runs change on a private copy of the record, and
	// writes the copy back only if nobody else wrote the record in the meantime.
	// Otherwise it starts over with the new record, a bounded number of times. It
	// returns nil once the change is as durable as the backend can make it.
	//
	// change may run more than once. It may even find its own work done, if the reply
	// to the write was lost. It must then do nothing a second time, or return an error
	// of its own. change must not call the Backend. If it changes the ID, that has no
	// effect.
	//
	// If change returns an error, Update writes nothing and returns the error as it
	// is, except for ErrUnchanged. This one means that there is nothing to write.
	// Update then returns nil, once the record that change saw is as durable as a
	// write of its own would be.
	//
	// Update returns ErrNotFound if there is no record, and an *ExistsError as Create does
	// if change sets the Name or EmailKey of another record.
	Update(ctx context.Context, id ID, change func(*Account) error) error

	// Delete removes a record. It returns ErrNotFound if there is none.
	Delete(ctx context.Context, id ID) error

	// List returns some of the accounts in order of a key, which list.By names. Each call
	// reads a bounded number of records through an index, so that a large table can be
	// read in pages. It returns fewer than list.Limit accounts only at the end. An
	// account that is changed while pages are read may be missing, or be in two pages.
	// Do not use LIKE for a prefix: it has patterns, and ignores case in some databases.
	List(ctx context.Context, list List) ([]*Account, error)

	// UpdateRecord does for the small record of a key what Update does for accounts,
	// ErrUnchanged included. change gets a Record without a Value if there is none, or
	// if it has expired at the time now. If change leaves the Value empty, the record
	// is removed. A backend removes expired records an hour or so later, because the
	// clocks of servers differ.
	UpdateRecord(ctx context.Context, key string, now time.Time, change func(*Record) error) error

	// Ping returns nil if the backend can do its work now.
	Ping(ctx context.Context) error
}

// ListKey is the key that [Backend.List] orders accounts by.
type ListKey int

// The keys.
const (
	ListByID    ListKey = iota // every account, by ID
	ListByName                 // those whose Name begins with List.Match, by Name
	ListByEmail                // those whose EmailKey begins with List.Match, by EmailKey
	ListByGroup                // those in the group List.Match, by ID
)

// List says which accounts [Backend.List] returns. Keys are compared byte for byte.
type List struct {
	By    ListKey
	Match string
	// After is the key of the last account of the page before: its ID in the form of
	// ID.Hex, its Name or its EmailKey. If it is empty, the list starts at its
	// beginning. That account need not exist any more.
	After string
	// Limit is how many accounts to return at most. It is at least 1.
	Limit int
}

// Record is a small piece of data that expires, such as a counter.
type Record struct {
	// Value belongs to the caller. It has at most 4 KiB.
	Value []byte
	// Expires is the first moment at which the record counts as absent, to the
	// millisecond. It must be set if there is a Value.
	Expires time.Time
}
