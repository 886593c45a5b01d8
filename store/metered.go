package store

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// MethodCounts are what a [MeteredBackend] has seen of one method since it was made.
type MethodCounts struct {
	// Calls is how many calls have ended.
	Calls int64
	// Errors is how many of them failed because the backend could not do its work, or not
	// before the deadline of the caller. An account that is not found, or a name that is
	// taken, is no error. Neither is a caller who has gone away, nor an error of the
	// function that Update calls.
	Errors int64
	// Time is how long these calls have lasted, all together.
	Time time.Duration
}

// MeteredBackend is a [Backend] that counts the calls, errors and time of another one. It
// shows whether the database is slow or fails. Give it to Config.Backend in the place of
// the other. It has the methods of Backend only, so keep the other for what else it can do,
// such as a backup.
//
// With Config.CacheTTL it counts only the calls that the cache did not answer.
type MeteredBackend struct {
	backend Backend
	meters  [methods]meter
}

var _ Backend = (*MeteredBackend)(nil)

// NewMeteredBackend makes a MeteredBackend.
func NewMeteredBackend(backend Backend) *MeteredBackend { return &MeteredBackend{backend: backend} }

// The methods of Backend.
const (
	methodFindByID = iota
	methodFindByName
	methodFindByEmail
	methodCreate
	methodUpdate
	methodDelete
	methodList
	methodUpdateRecord
	methodPing
	methods
)

var methodNames = [methods]string{
	"FindByID", "FindByName", "FindByEmail", "Create", "Update", "Delete", "List", "UpdateRecord", "Ping",
}

// Counts returns what was seen until now, by the name of the method, such as "FindByID".
// Each method is there, also one that was not called.
func (b *MeteredBackend) Counts() map[string]MethodCounts {
	counts := make(map[string]MethodCounts, methods)
	for i := range b.meters {
		m := &b.meters[i]
		counts[methodNames[i]] = MethodCounts{
			Calls: m.calls.Load(), Errors: m.errors.Load(), Time: time.Duration(m.time.Load()),
		}
	}
	return counts
}

// meter counts the calls of one method. Its padding keeps it apart from the next one.
type meter struct {
	calls, errors, time atomic.Int64 // time is in nanoseconds
	_                   [40]byte
}

// ended counts a call that began at start.
func (m *meter) ended(start time.Time, err error) {
	m.time.Add(int64(time.Since(start)))
	m.calls.Add(1)
	if isFailure(err) {
		m.errors.Add(1)
	}
}

// isFailure reports whether an error says that the backend could not do its work.
func isFailure(err error) bool {
	switch {
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrExists):
		return false
	case errors.Is(err, ErrUnavailable):
		return true
	}
	return !errors.Is(err, context.Canceled)
}

// FindByID, and the methods after it, do what the other backend does.
func (b *MeteredBackend) FindByID(ctx context.Context, id ID) (*Account, error) {
	start := time.Now()
	account, err := b.backend.FindByID(ctx, id)
	b.meters[methodFindByID].ended(start, err)
	return account, err
}

func (b *MeteredBackend) FindByName(ctx context.Context, name string) (*Account, error) {
	start := time.Now()
	account, err := b.backend.FindByName(ctx, name)
	b.meters[methodFindByName].ended(start, err)
	return account, err
}

func (b *MeteredBackend) FindByEmail(ctx context.Context, emailKey string) (*Account, error) {
	start := time.Now()
	account, err := b.backend.FindByEmail(ctx, emailKey)
	b.meters[methodFindByEmail].ended(start, err)
	return account, err
}

func (b *MeteredBackend) Create(ctx context.Context, account *Account) error {
	start := time.Now()
	err := b.backend.Create(ctx, account)
	b.meters[methodCreate].ended(start, err)
	return err
}

func (b *MeteredBackend) Update(ctx context.Context, id ID, change func(*Account) error) error {
	start := time.Now()
	watched, rest := watch(change)
	err := b.backend.Update(ctx, id, watched)
	b.meters[methodUpdate].ended(start, rest(err))
	return err
}

func (b *MeteredBackend) Delete(ctx context.Context, id ID) error {
	start := time.Now()
	err := b.backend.Delete(ctx, id)
	b.meters[methodDelete].ended(start, err)
	return err
}

func (b *MeteredBackend) List(ctx context.Context, list List) ([]*Account, error) {
	start := time.Now()
	accounts, err := b.backend.List(ctx, list)
	b.meters[methodList].ended(start, err)
	return accounts, err
}

func (b *MeteredBackend) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*Record) error) error {
	start := time.Now()
	watched, rest := watch(change)
	err := b.backend.UpdateRecord(ctx, key, now, watched)
	b.meters[methodUpdateRecord].ended(start, rest(err))
	return err
}

func (b *MeteredBackend) Ping(ctx context.Context) error {
	start := time.Now()
	err := b.backend.Ping(ctx)
	b.meters[methodPing].ended(start, err)
	return err
}

// watch returns a change function that does the same as the one given, and a function that
// drops the error of a backend if the last run of the change returned it. The change may
// still run when the backend has returned, because the context has ended.
func watch[T any](change func(*T) error) (watched func(*T) error, rest func(error) error) {
	var last atomic.Pointer[error]
	watched = func(value *T) error {
		err := change(value)
		last.Store(&err)
		return err
	}
	rest = func(err error) error {
		if refusal := last.Load(); refusal != nil && *refusal != nil && errors.Is(err, *refusal) {
			return nil
		}
		return err
	}
	return watched, rest
}
