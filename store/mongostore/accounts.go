package mongostore

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"

	"github.com/oauthsv/oauthsv/store"
)

// account is a document of the collection "accounts".
type account struct {
	store.Account `bson:",inline"`
	// Version is random and new with each write. It is what writes compare and
	// swap, and how a write whose reply was lost is found again.
	Version int64 `bson:"version"`
	// Rest is Account.Unknown on its way from and to the document: the driver knows
	// only the map of the outermost struct.
	Rest map[string]any `bson:",inline"`
}

// FindByID is as [store.Backend] says: one round trip, by the key of every
// collection.
func (s *Store) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	return s.findOne(ctx, "_id", id)
}

// FindByName is as [store.Backend] says: one round trip, by a unique index.
func (s *Store) FindByName(ctx context.Context, name string) (*store.Account, error) {
	return s.findOne(ctx, "name", name)
}

// FindByEmail is as [store.Backend] says: one round trip, by a unique index.
func (s *Store) FindByEmail(ctx context.Context, emailKey string) (*store.Account, error) {
	return s.findOne(ctx, "email_key", emailKey)
}

func (s *Store) findOne(ctx context.Context, field string, value any) (*store.Account, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	found, err := s.read(ctx, field, value)
	if err != nil {
		return nil, err
	}
	return &found.Account, nil
}

func (s *Store) read(ctx context.Context, field string, value any) (*account, error) {
	found := new(account)
	err := s.accounts.FindOne(ctx, bson.D{{Key: field, Value: value}}).Decode(found)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, unavailable("reading an account", err)
	}
	found.Unknown = found.Rest
	return found, nil
}

// Create is as [store.Backend] says.
//
// It inserts one document, which the server does whole or not at all. Whatever the
// server answers but success, the call looks who has the name and the e-mail, for
// servers differ in how they say that a value is taken. If it is the account
// itself, the insertion was done and only its reply was lost, or the server lacked
// a majority for it. When the time is over the caller is told that the store is
// unavailable, and the account may be there, whole: trying again says that the name
// is taken.
func (s *Store) Create(caller context.Context, what *store.Account) error {
	ctx, cancel, err := s.begin(caller)
	if err != nil {
		return err
	}
	defer cancel()
	document := &account{Account: *what, Version: newVersion(), Rest: what.Unknown}
	w := &writer{caller: caller}
	return w.run(ctx, func() (done bool, err error) {
		_, err = s.accounts.InsertOne(ctx, document)
		if err == nil {
			return true, nil
		}
		holder, field, readError := s.holder(ctx, &document.Account)
		if readError != nil || holder == nil {
			return false, err
		}
		done, err = confirm(ctx, s.accounts, holder.ID, holder.Version)
		if done && field != "" {
			err = &store.ExistsError{Field: field}
		}
		return done, err
	})
}

// holder finds the account that has one of the unique values of an account, another
// one before the account itself. field is empty where only the account itself has
// them.
func (s *Store) holder(ctx context.Context, wanted *store.Account) (found *account, field string, err error) {
	for _, unique := range []struct{ document, field, value string }{
		{"name", "name", wanted.Name}, {"email_key", "email", wanted.EmailKey},
	} {
		owner, err := s.read(ctx, unique.document, unique.value)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return nil, "", err
		case owner.ID != wanted.ID:
			return owner, unique.field, nil
		default:
			found = owner
		}
	}
	return found, "", nil
}

// Update is as [store.Backend] says: one round trip to read and one to write,
// unless somebody else wrote in between.
//
// The write replaces the document if its version is still the one that was read.
// If the reply is lost, or the server lacks a majority, the next read tells: a
// version of this call's own means that the write was done, and Update returns nil
// once a majority has it. If somebody has written on top of it meanwhile, change
// runs on the record as it is then and finds its own work done. So nothing is done
// twice, and nobody is logged out by a lost reply.
//
// An error of change, [store.ErrUnchanged] as any other, is returned once a
// majority has the record that change saw: a session that has ended, say, must not
// come back. Others of this process who update the same account wait for their
// turn, see Config.Timeout.
func (s *Store) Update(caller context.Context, id store.ID, change func(*store.Account) error) error {
	written, err := s.accountQueue.enter(caller, id, s.patience())
	if err != nil {
		return unavailable("waiting to write an account", err)
	}
	defer func() { s.accountQueue.leave(id, written) }()
	ctx, cancel, err := s.begin(caller)
	if err != nil {
		return err
	}
	defer cancel()
	w := &writer{caller: caller}
	u := accountUpdate{Store: s, writer: w, id: id, change: change, left: written}
	written = nil
	err = w.run(ctx, func() (bool, error) { return u.try(ctx) })
	written = u.written
	return err
}

// accountUpdate is one call of Update.
type accountUpdate struct {
	*Store
	*writer
	id     store.ID
	change func(*store.Account) error

	left    *account // what the call before has written, to begin with
	written *account // what this call has written
}

func (u *accountUpdate) try(ctx context.Context) (done bool, err error) {
	current, err := u.current(ctx)
	if err != nil {
		return true, err
	}
	version, name, emailKey := current.Version, current.Name, current.EmailKey
	if u.mine(version) {
		return confirm(ctx, u.accounts, u.id, version)
	}
	if answer := u.change(&current.Account); answer != nil {
		done, err := confirm(ctx, u.accounts, u.id, version)
		if done {
			err = unlessUnchanged(answer)
		}
		return done, err
	}
	current.ID, current.Version, current.Rest = u.id, u.next(), current.Unknown
	result, err := u.accounts.ReplaceOne(ctx, bson.D{{Key: "_id", Value: u.id}, {Key: "version", Value: version}}, current)
	if err == nil {
		if result.MatchedCount > 0 {
			u.written = current
		}
		return result.MatchedCount > 0, nil
	}
	if current.Name != name || current.EmailKey != emailKey {
		if taken, takenError := u.taken(ctx, &current.Account); taken {
			return true, takenError
		}
	}
	return false, err
}

// current is the account as it is now. A call that had to wait for its turn begins
// with what the call before it has written, and saves a round trip: should somebody
// else have written since, neither a write nor a confirmation matches.
func (u *accountUpdate) current(ctx context.Context) (*account, error) {
	if left := u.left; left != nil {
		u.left = nil
		return &account{Account: *left.Clone(), Version: left.Version}, nil
	}
	return u.read(ctx, "_id", u.id)
}

// taken tells whether another account has the name or the e-mail, and a majority
// knows it.
func (s *Store) taken(ctx context.Context, wanted *store.Account) (bool, error) {
	holder, field, err := s.holder(ctx, wanted)
	if err != nil || field == "" {
		return false, err
	}
	if sure, _ := confirm(ctx, s.accounts, holder.ID, holder.Version); !sure {
		return false, nil
	}
	return true, &store.ExistsError{Field: field}
}

// Delete is as [store.Backend] says. A document that is gone after a lost reply
// was removed by this call, or by another whose caller wanted the same. A deletion
// for which the server lacks a majority is repeated: one that finds nothing more is
// answered when a majority knows of all that came before it.
func (s *Store) Delete(caller context.Context, id store.ID) error {
	ctx, cancel, err := s.begin(caller)
	if err != nil {
		return err
	}
	defer cancel()
	w := &writer{caller: caller}
	removed := false
	return w.run(ctx, func() (done bool, err error) {
		result, err := s.accounts.DeleteOne(ctx, bson.D{{Key: "_id", Value: id}})
		switch {
		case err != nil:
			maybe, _ := mayHaveRemoved(err)
			removed = removed || maybe
			return false, err
		case result.DeletedCount == 0 && !removed:
			return true, store.ErrNotFound
		}
		return true, nil
	})
}
