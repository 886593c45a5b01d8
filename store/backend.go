package store

import (
	"context"
	"time"
)

// Backend keeps the records. It knows no rules. All methods are safe for
// concurrent use, honour their context, and return an error that matches
// [ErrUnavailable] where they could not do their work; any error that is not
// named here counts as that. Package storetest checks an implementation.
//
// An *Account that a method returns is a snapshot: neither side changes it.
type Backend interface {
	// FindByID, FindByName and FindByEmail read one record; name and email are
	// in prepared form. They return ErrNotFound where there is none. They see
	// every write that was answered before they began, by whatever process: a
	// read that lags behind would undo a revocation.
	FindByID(ctx context.Context, id ID) (*Account, error)
	FindByName(ctx context.Context, name string) (*Account, error)
	FindByEmail(ctx context.Context, emailKey string) (*Account, error)

	// Create adds a record whose ID the caller has chosen. It returns an
	// *ExistsError if another record has the same Name or EmailKey, the name
	// first if both are taken. Of several callers with the same name or e-mail
	// exactly one succeeds. After an error other than that the record is there
	// whole or not at all.
	Create(ctx context.Context, account *Account) error

	// Update runs change on a private copy of the current record and writes the
	// copy back only if nobody else wrote meanwhile; else it starts over with
	// the record as it is then, a bounded number of times. So change may run more
	// than once, and after a write whose reply was lost it may find its own work
	// done: it must then return an error of its own, or do nothing a second time.
	// change must not call the Backend.
	//
	// An error of change is returned as it is and nothing is written, but for
	// ErrUnchanged: change has found that there is nothing to write. Update then
	// returns nil, once the record that change saw is as durable as a write of its
	// own would be. Update returns ErrNotFound if there is no record, and an *ExistsError if change
	// gave the record the Name or EmailKey of another. The ID cannot be changed.
	// On return without error the change is durable, as far as the backend is.
	Update(ctx context.Context, id ID, change func(*Account) error) error

	// Delete removes a record. It returns ErrNotFound where there is none.
	Delete(ctx context.Context, id ID) error

	// UpdateRecord does for the small record of a key what Update does for
	// accounts. Where there is none, or one that has expired at now, change gets
	// a Record with no Value; if change leaves no Value, the record is removed.
	// ErrUnchanged means what it means to Update. A backend removes expired records
	// by itself, in its own time.
	UpdateRecord(ctx context.Context, key string, now time.Time, change func(*Record) error) error

	// Ping returns nil if the backend can do its work now.
	Ping(ctx context.Context) error
}

// Record is something small that expires by itself, such as a counter.
type Record struct {
	// Value is the caller's, at most 4 KiB.
	Value []byte
	// Expires is the first moment at which the record counts as absent, to the
	// millisecond. A record with a Value must have one.
	Expires time.Time
}
