package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"sync"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/password"
)

// Hasher knows the hashes of other systems. *password.Hasher is one: give Config the one that
// the accounts use.
type Hasher interface {
	// Check returns an error if Verify would not understand a hash.
	Check(hash string) error
	// WrapSHA224 returns a hash over a bare SHA-224 digest, at the cost of a login. It
	// returns an error that matches password.ErrHash for text that is no such digest. Any
	// other error ends the import.
	WrapSHA224(ctx context.Context, hexDigest string) (string, error)
}

// Config configures an import.
type Config struct {
	// Accounts is where the accounts go. Required.
	Accounts *store.Accounts
	// Hasher checks hashes and wraps digests. Required.
	Hasher Hasher
	// Workers is how many accounts are written at once. The default is 32: a store writes
	// several together faster than one after the other.
	Workers int
	// Refused, if set, is told of each record that could not be taken, and why. It is
	// called by one goroutine at a time.
	Refused func(number int, reason error)
	// Progress, if set, is told the counts after each record. It is called by one
	// goroutine at a time.
	Progress func(Counts)
}

// Counts are what an import has done.
type Counts struct {
	// Imported accounts were made.
	Imported int
	// Present accounts were there already, and stay as they are.
	Present int
	// Refused records could not be taken.
	Refused int
}

// Import makes the accounts of the records. An account that is there already stays as it is:
// one with the same id, or one with the same name and e-mail for a record without an id. So
// an import that was stopped can run again.
//
// Import returns an error if the source or the store fails. What was counted is in the store
// then, and the rest can be imported later.
func Import(ctx context.Context, config Config, records iter.Seq2[Numbered, error]) (Counts, error) {
	var problems []string
	if config.Accounts == nil {
		problems = append(problems, "Accounts is required: make it with store.NewAccounts")
	}
	if config.Hasher == nil {
		problems = append(problems, "Hasher is required: make it with password.New")
	}
	if config.Workers < 0 {
		problems = append(problems, fmt.Sprintf("Workers is %d: it must not be negative", config.Workers))
	}
	if len(problems) > 0 {
		return Counts{}, fmt.Errorf("transfer: configuration: %s", strings.Join(problems, "; "))
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	i := &importer{Config: config, stop: stop, wrapping: make(chan struct{}, runtime.GOMAXPROCS(0))}
	work := make(chan Numbered)
	var workers sync.WaitGroup
	for range cmp.Or(config.Workers, 32) {
		workers.Go(func() {
			for record := range work {
				i.count(ctx, record.Number, i.take(ctx, &record.Record))
			}
		})
	}
	for record, err := range records {
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, ErrSource) {
			stop(err)
			break
		}
		if err != nil {
			i.count(ctx, record.Number, err)
			continue
		}
		work <- record
	}
	close(work)
	workers.Wait()
	return i.counts, context.Cause(ctx)
}

type importer struct {
	Config
	stop context.CancelCauseFunc
	// wrapping holds a place for each digest that is being wrapped. A Hasher lets only so
	// many callers wait, and there may be more workers.
	wrapping chan struct{}

	mu     sync.Mutex
	counts Counts
}

// errPresent means that the account is there already.
var errPresent = errors.New("transfer: the account is there already")

// outage is an error of the store or of the Hasher, as opposed to one of a record.
type outage struct{ error }

func (o outage) Unwrap() error { return o.error }

// storeError tells an outage from an error of the record. A backend may return errors of its
// own, so what is not known to be about the record is an outage.
func storeError(err error) error {
	if err == nil || errors.Is(err, store.ErrInvalid) || errors.Is(err, store.ErrExists) {
		return err
	}
	return outage{err}
}

// count counts a record by the error of its import.
func (i *importer) count(ctx context.Context, number int, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case err == nil:
		i.counts.Imported++
	case errors.Is(err, errPresent):
		i.counts.Present++
	case errors.As(err, new(outage)), ctx.Err() != nil:
		i.stop(fmt.Errorf("transfer: record %d: %w", number, err))
		return
	default:
		i.counts.Refused++
		if i.Refused != nil {
			i.Refused(number, err)
		}
	}
	if i.Progress != nil {
		i.Progress(i.counts)
	}
}

// take makes the account of a record.
func (i *importer) take(ctx context.Context, record *Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	wanted, err := record.account()
	if err != nil {
		return err
	}
	// Before the digest is wrapped: an import that runs again must not pay for it again.
	if err := i.absent(ctx, &wanted); err != nil {
		return err
	}
	if record.PasswordHash != "" {
		if err := i.Hasher.Check(record.PasswordHash); err != nil {
			return err
		}
	}
	if record.SHA224 != "" {
		if wanted.PasswordHash, err = i.wrap(ctx, record.SHA224); err != nil {
			return err
		}
	}
	_, err = i.Accounts.Create(ctx, wanted)
	if errors.Is(err, store.ErrExists) {
		if present := i.absent(ctx, &wanted); present != nil { // made meanwhile
			return present
		}
	}
	return storeError(err)
}

func (i *importer) wrap(ctx context.Context, digest string) (hash string, err error) {
	select {
	case i.wrapping <- struct{}{}:
		defer func() { <-i.wrapping }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	hash, err = i.Hasher.WrapSHA224(ctx, digest)
	if err != nil && !errors.Is(err, password.ErrHash) {
		err = outage{err}
	}
	return hash, err
}

// absent returns errPresent if the account is there already.
func (i *importer) absent(ctx context.Context, wanted *store.NewAccount) error {
	var found *store.Account
	var err error
	if wanted.ID != store.NilID {
		found, err = i.Accounts.FindByID(ctx, wanted.ID)
	} else {
		found, err = i.Accounts.FindByName(ctx, wanted.Name)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return storeError(err)
	case wanted.ID != store.NilID:
		return errPresent
	}
	if key, err := store.PrepareEmail(wanted.Email); err != nil || found.EmailKey != key {
		return nil // another account: Create says so
	}
	return errPresent
}
