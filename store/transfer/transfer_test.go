package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/password"
	"github.com/oauthsv/oauthsv/store/transfer"
)

func newHasher(t testing.TB) *password.Hasher {
	t.Helper()
	hasher, err := password.New(password.Config{Memory: 8, Iterations: 1})
	require.NoError(t, err)
	return hasher
}

func newAccounts(t testing.TB, backend store.Backend) *store.Accounts {
	t.Helper()
	accounts, err := store.NewAccounts(store.Config{Backend: backend, Passwords: newHasher(t)})
	require.NoError(t, err)
	return accounts
}

// imported is the outcome of an import.
type imported struct {
	transfer.Counts
	refused map[int]string // reasons by number
	err     error
}

func importFrom(ctx context.Context, t testing.TB, accounts *store.Accounts, from io.Reader) imported {
	t.Helper()
	result := imported{refused: make(map[int]string)}
	result.Counts, result.err = transfer.Import(ctx, transfer.Config{
		Accounts: accounts, Hasher: newHasher(t),
		Refused: func(number int, reason error) { result.refused[number] = reason.Error() },
	}, transfer.ReadLines(from))
	return result
}

func export(t testing.TB, accounts *store.Accounts) string {
	t.Helper()
	var to bytes.Buffer
	_, err := transfer.Export(t.Context(), accounts, &to, store.NilID, nil)
	require.NoError(t, err)
	return to.String()
}

// lines are n accounts, one a line, with the ids from 1 on.
func lines(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `{"account_id":"%024x","name":"user-%d","email":"user-%d@example.org","groups":["editors"]}`+"\n", i+1, i, i)
	}
	return text.String()
}

// everyField are accounts that differ in every field that moves. A time has a zone and
// parts of a millisecond, which no store keeps.
const everyField = `{"account_id":"000000000000000000000001","name":"Ada","email":"Ada@Example.org","phone":"+49 30 1234","password_hash":"$2b$04$2WXTNNi9BUrQQHSCJ6n6V.dOuLz9MKGYFjMqbXlmU.v7G7j8CW0Oy","groups":["b","admin"],"disabled":true,"created":"2001-02-03T04:05:06.789123+02:00","modified":"2002-02-03T04:05:06Z","last_action":"2003-02-03T04:05:06Z"}
{"account_id":"0000000000000000000000ff","name":"bob","email":"bob@example.org"}
{"account_id":"000000000000000000000002","name":"jürgen","email":"jürgen@müller.example","groups":["editors"],"password_hash":"pbkdf2_sha256$1000$seaSALT12$RSoiE6CpDK0lK7c/STSg7N5AkalpHnLcAr4riZGhGug="}
`

func TestAccountsMoveBetweenAllStoresCompletely(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, from store.Backend) {
		source := newAccounts(t, from)
		require.Equal(t, imported{Counts: transfer.Counts{Imported: 3}, refused: map[int]string{}}, importFrom(t.Context(), t, source, strings.NewReader(everyField)))
		moved := export(t, source)
		mongotest.EachStore(t, func(t *testing.T, to store.Backend) {
			target := newAccounts(t, to)
			result := importFrom(t.Context(), t, target, strings.NewReader(moved))
			require.Equal(t, imported{Counts: transfer.Counts{Imported: 3}, refused: map[int]string{}}, result)
			assert.Equal(t, moved, export(t, target))
			for _, id := range []store.ID{{11: 1}, {11: 2}, {11: 255}} {
				before, err := from.FindByID(t.Context(), id)
				require.NoError(t, err)
				after, err := to.FindByID(t.Context(), id)
				require.NoError(t, err)
				assert.NotEqual(t, before.CredentialsVersion, after.CredentialsVersion, "codes stay behind")
				wanted := before.Clone()
				wanted.CredentialsVersion = after.CredentialsVersion
				assert.Equal(t, wanted, after)
			}

			result = importFrom(t.Context(), t, target, strings.NewReader(moved))
			assert.Equal(t, transfer.Counts{Present: 3}, result.Counts)
			assert.Equal(t, moved, export(t, target), "a second run changes nothing")
		})
		ada, err := source.FindByID(t.Context(), store.ID{11: 1})
		require.NoError(t, err)
		assert.Equal(t, "ada", ada.Name)
		assert.Equal(t, "Ada@Example.org", ada.Email)
		assert.Equal(t, "ada@example.org", ada.EmailKey)
		assert.Equal(t, "+49 30 1234", ada.Phone)
		assert.Equal(t, []string{"admin", "b"}, ada.Groups)
		assert.True(t, ada.Disabled)
		assert.Equal(t, time.Date(2001, 2, 3, 2, 5, 6, 789e6, time.UTC), ada.Created)
		assert.Equal(t, 2002, ada.Modified.Year())
		assert.Equal(t, 2003, ada.LastAction.Year())
	})
}

// TestExportContinues checks the pages of an export, and that one can begin after each
// account, and after one that is gone.
func TestExportContinues(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		accounts := newAccounts(t, backend)
		const n = 502 // two pages
		require.Equal(t, n, importFrom(t.Context(), t, accounts, strings.NewReader(lines(n))).Imported)
		var to bytes.Buffer
		var progress []string
		written, err := transfer.Export(t.Context(), accounts, &to, store.NilID, func(written int, last store.ID) {
			progress = append(progress, fmt.Sprintf("%d %x", written, last[10:]))
		})
		require.NoError(t, err)
		assert.Equal(t, n, written)
		assert.Equal(t, []string{"500 01f4", "502 01f6"}, progress)
		all := strings.SplitAfter(to.String(), "\n")
		require.Len(t, all, n+1)

		require.NoError(t, accounts.Remove(t.Context(), store.ID{11: 7}))
		for _, after := range []int{7, 500, 501, 502} {
			var to bytes.Buffer
			written, err := transfer.Export(t.Context(), accounts, &to, store.ID{10: byte(after >> 8), 11: byte(after)}, nil)
			require.NoError(t, err)
			assert.Equal(t, n-after, written)
			assert.Equal(t, strings.Join(all[after:], ""), to.String(), after)
		}
	})
}

// failingBackend fails its n-th call, and all after it.
type failingBackend struct {
	store.Backend
	calls atomic.Int64
	err   error
}

func (f *failingBackend) fails() error {
	if f.calls.Add(-1) < 0 {
		return f.err
	}
	return nil
}

func (f *failingBackend) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	if err := f.fails(); err != nil {
		return nil, err
	}
	return f.Backend.FindByID(ctx, id)
}

func (f *failingBackend) Create(ctx context.Context, account *store.Account) error {
	if err := f.fails(); err != nil {
		return err
	}
	return f.Backend.Create(ctx, account)
}

func (f *failingBackend) List(ctx context.Context, list store.List) ([]*store.Account, error) {
	if err := f.fails(); err != nil {
		return nil, err
	}
	return f.Backend.List(ctx, list)
}

// checkResumed runs an import a second time. Each account is there exactly once then, and
// each has been counted exactly once.
func checkResumed(t *testing.T, backend store.Backend, first imported, n int) {
	t.Helper()
	assert.Empty(t, first.refused)
	assert.Less(t, first.Imported, n)
	accounts := newAccounts(t, backend)
	assert.Equal(t, first.Imported, strings.Count(export(t, accounts), "\n"), "what was counted is in the store")
	second := importFrom(t.Context(), t, accounts, strings.NewReader(lines(n)))
	require.NoError(t, second.err)
	assert.Equal(t, transfer.Counts{Imported: n - first.Imported, Present: first.Imported}, second.Counts)
	assert.Equal(t, n, strings.Count(export(t, accounts), "\n"))
}

// TestStoreFailsInTheMiddle checks an error that says so, and one that only that backend knows.
// Neither is a reason to refuse a record.
func TestStoreFailsInTheMiddle(t *testing.T) {
	const n = 300
	for _, failure := range []error{fmt.Errorf("%w: the disk is full", store.ErrUnavailable), errors.New("sql: connection refused")} {
		for _, calls := range []int64{0, 1, 32, 33, 400} {
			backend := &failingBackend{Backend: memstore.New(), err: failure}
			backend.calls.Store(calls)
			first := importFrom(t.Context(), t, newAccounts(t, backend), strings.NewReader(lines(n)))
			require.ErrorIs(t, first.err, failure)
			assert.Regexp(t, `^transfer: record \d+: `, first.err.Error())
			checkResumed(t, backend.Backend, first, n)
		}
	}
}

func TestSourceFailsInTheMiddle(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		const n = 100
		failure := errors.New("the cable was pulled")
		cut := io.MultiReader(strings.NewReader(lines(n)[:5000]), iotest.ErrReader(failure))
		first := importFrom(t.Context(), t, newAccounts(t, backend), cut)
		require.ErrorIs(t, first.err, transfer.ErrSource)
		require.ErrorIs(t, first.err, failure)
		checkResumed(t, backend, first, n)
	})
}

func TestImportIsStopped(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		const n = 300
		accounts := newAccounts(t, backend)
		ctx, cancel := context.WithCancel(t.Context())
		first := imported{}
		first.Counts, first.err = transfer.Import(ctx, transfer.Config{
			Accounts: accounts, Hasher: newHasher(t), Workers: 1, // so that no reply is on its way
			Progress: func(counts transfer.Counts) {
				if counts.Imported == 100 {
					cancel()
				}
			},
		}, transfer.ReadLines(strings.NewReader(lines(n))))
		require.ErrorIs(t, first.err, context.Canceled)
		assert.Equal(t, 100, first.Imported)
		checkResumed(t, backend, first, n)
	})
}

func TestExportFails(t *testing.T) {
	backend := &failingBackend{Backend: memstore.New(), err: store.ErrUnavailable}
	accounts := newAccounts(t, backend)
	require.Equal(t, 700, importFrom(t.Context(), t, newAccounts(t, backend.Backend), strings.NewReader(lines(700))).Imported)
	backend.calls.Store(1)
	var to bytes.Buffer
	var last store.ID
	written, err := transfer.Export(t.Context(), accounts, &to, store.NilID, func(_ int, id store.ID) { last = id })
	require.ErrorIs(t, err, store.ErrUnavailable)
	assert.Equal(t, 500, written)
	backend.calls.Store(100)
	rest, err := transfer.Export(t.Context(), accounts, &to, last, nil)
	require.NoError(t, err)
	assert.Equal(t, 200, rest)
	assert.Equal(t, export(t, newAccounts(t, backend.Backend)), to.String())

	full := errors.New("no space left")
	_, err = transfer.Export(t.Context(), newAccounts(t, backend.Backend), failingWriter{full}, store.NilID, nil)
	assert.ErrorIs(t, err, full)
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

func TestConfigurationErrorsNameEachField(t *testing.T) {
	_, err := transfer.Import(t.Context(), transfer.Config{Workers: -1}, transfer.ReadLines(strings.NewReader("")))
	for _, field := range []string{"Accounts", "Hasher", "Workers"} {
		assert.ErrorContains(t, err, field)
	}
}

// waitingBackend makes accounts once release is closed.
type waitingBackend struct {
	store.Backend
	waiting atomic.Int64
	release chan struct{}
}

func (w *waitingBackend) Create(ctx context.Context, account *store.Account) error {
	w.waiting.Add(1)
	<-w.release
	return w.Backend.Create(ctx, account)
}

// TestWorkersWriteAtOnce: as many as the configuration says, and 32 if it says nothing.
func TestWorkersWriteAtOnce(t *testing.T) {
	for workers, want := range map[int]int64{0: 32, 1: 1, 33: 33} {
		synctest.Test(t, func(t *testing.T) {
			backend := &waitingBackend{Backend: memstore.New(), release: make(chan struct{})}
			accounts := newAccounts(t, backend)
			done := make(chan error)
			go func() {
				_, err := transfer.Import(t.Context(), transfer.Config{Accounts: accounts, Hasher: newHasher(t), Workers: workers}, transfer.ReadLines(strings.NewReader(lines(50))))
				done <- err
			}()
			synctest.Wait()
			assert.Equal(t, want, backend.waiting.Load())
			close(backend.release)
			assert.NoError(t, <-done)
		})
	}
}

// TestFirstAndLastTimesMove: those that JSON can hold.
func TestFirstAndLastTimesMove(t *testing.T) {
	accounts := newAccounts(t, memstore.New())
	const times = `"created":"0001-01-01T00:00:00.001Z","modified":"9999-12-31T23:59:59.999Z","last_action":"9999-01-01T00:00:00Z"`
	result := importFrom(t.Context(), t, accounts, strings.NewReader(`{"name":"ada","email":"ada@example.org",`+times+`}`))
	require.Equal(t, transfer.Counts{Imported: 1}, result.Counts, result.refused)
	assert.Contains(t, export(t, accounts), times)
}

// TestRecordsWithoutIDAreFoundByNameAndEmail: a run that is repeated must find its work done.
func TestRecordsWithoutIDAreFoundByNameAndEmail(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		accounts := newAccounts(t, backend)
		const records = `{"name":"ada","email":"ada@example.org"}
{"name":"bob","email":"bob@example.org"}
`
		assert.Equal(t, 2, importFrom(t.Context(), t, accounts, strings.NewReader(records)).Imported)
		assert.Equal(t, transfer.Counts{Present: 2}, importFrom(t.Context(), t, accounts, strings.NewReader(records)).Counts)
		again := importFrom(t.Context(), t, accounts, strings.NewReader(`{"name":"ADA","email":"Ada@Example.org"}
{"name":"ada","email":"other@example.org"}
{"name":"carol","email":"bob@example.org"}
{"account_id":"000000000000000000000001","name":"bob","email":"bob@example.org"}
`))
		assert.Equal(t, transfer.Counts{Present: 1, Refused: 3}, again.Counts)
		assert.Equal(t, map[int]string{
			2: "store: another account has this name", 3: "store: another account has this email", 4: "store: another account has this name",
		}, again.refused)
	})
}

// TestAccountThatHasChangedSinceIsPresent: its id says so, whatever name and e-mail it has by now.
func TestAccountThatHasChangedSinceIsPresent(t *testing.T) {
	accounts := newAccounts(t, memstore.New())
	require.Equal(t, 1, importFrom(t.Context(), t, accounts, strings.NewReader(lines(1))).Imported)
	id := store.ID{11: 1}
	name, email := "another", "another@example.org"
	_, err := accounts.Change(t.Context(), id, store.Changes{Name: &name, Email: &email})
	require.NoError(t, err)
	assert.Equal(t, transfer.Counts{Present: 1}, importFrom(t.Context(), t, accounts, strings.NewReader(lines(1))).Counts)
}

// TestImportReadsNoMoreAfterAFailure: a source can be long.
func TestImportReadsNoMoreAfterAFailure(t *testing.T) {
	backend := &failingBackend{Backend: memstore.New(), err: store.ErrUnavailable}
	read, told := 0, 0
	_, err := transfer.Import(t.Context(), transfer.Config{
		Accounts: newAccounts(t, backend), Hasher: newHasher(t), Workers: 1,
		Progress: func(transfer.Counts) { told++ },
	}, func(yield func(transfer.Numbered, error) bool) {
		for record, err := range transfer.ReadLines(strings.NewReader(lines(100))) {
			if read++; !yield(record, err) {
				return
			}
		}
	})
	require.ErrorIs(t, err, store.ErrUnavailable)
	assert.LessOrEqual(t, read, 4, "the one that fails, those on their way, and the one that finds it out")
	assert.Zero(t, told, "nothing was counted")
}

// rivalBackend has another import that makes each account a moment earlier.
type rivalBackend struct{ store.Backend }

func (r rivalBackend) Create(ctx context.Context, account *store.Account) error {
	if err := r.Backend.Create(ctx, account); err != nil {
		return err
	}
	return r.Backend.Create(ctx, account)
}

func TestAccountThatAnotherImportHasJustMadeIsPresent(t *testing.T) {
	accounts := newAccounts(t, rivalBackend{memstore.New()})
	result := importFrom(t.Context(), t, accounts, strings.NewReader(lines(1)+`{"name":"ada","email":"ada@example.org"}`))
	require.NoError(t, result.err)
	assert.Equal(t, transfer.Counts{Present: 2}, result.Counts)
}

// TestSameRecordTwiceAtOnce: one of them makes the account.
func TestSameRecordTwiceAtOnce(t *testing.T) {
	accounts := newAccounts(t, memstore.New())
	result := importFrom(t.Context(), t, accounts, strings.NewReader(strings.Repeat(lines(1)+`{"name":"ada","email":"ada@example.org"}`+"\n", 50)))
	assert.Equal(t, transfer.Counts{Imported: 2, Present: 98}, result.Counts)
}
