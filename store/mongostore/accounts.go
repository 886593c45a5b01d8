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
	// Version is random and new with each write. Writes compare and swap it. If the
	// reply to a write is lost, the call recognizes its own write by it.
	Version int64 `bson:"version"`
	// Rest is Account.Unknown while the document is encoded and decoded: the driver
	// handles such a map only in the outermost struct.
	Rest map[string]any `bson:",inline"`
}

// FindByID is as [store.Backend] says. It takes one round trip, by the index on _id.
func (s *Store) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	return s.findOne(ctx, "_id", id)
}

// FindByName is as [store.Backend] says. It takes one round trip, by a unique index.
func (s *Store) FindByName(ctx context.Context, name string) (*store.Account, error) {
	return s.findOne(ctx, "name", name)
}

// FindByEmail is as [store.Backend] says. It takes one round trip, by a unique index.
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
// It inserts one document, which a server does completely or not at all. If the server
// answers anything but success, Create looks up who has the name, the e-mail and the id, because
// servers differ in how they report a taken value. If the account itself has them, the
// insertion was done: its reply was lost, or the server lacked a majority for it.
//
// If Create runs out of time, it returns an error that matches [store.ErrUnavailable]. The
// account may exist nevertheless. Then a second try returns that the name is taken.
func (s *Store) Create(caller context.Context, wanted *store.Account) error {
	ctx, cancel, err := s.begin(caller)
	if err != nil {
		return err
	}
	defer cancel()
	document := &account{Account: *wanted, Version: newVersion(), Rest: wanted.Unknown}
	w := &writer{caller: caller}
	return w.run(ctx, func() (done bool, err error) {
		_, err = s.accounts.InsertOne(ctx, document)
		if err == nil {
			return true, nil
		}
		holder, field, readError := s.holder(ctx, wanted, func(found *account) bool {
			// The version tells wanted from an account whose caller chose the same id.
			return found.ID == wanted.ID && found.Version == document.Version
		})
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

// holder finds an account that has the name, the e-mail or the id of wanted. If another
// account has one of them, holder returns it, and in field which value it has. Otherwise it
// returns wanted itself as it is stored, or nil, with an empty field. isWanted tells wanted
// from another account.
func (s *Store) holder(ctx context.Context, wanted *store.Account, isWanted func(*account) bool) (found *account, field string, err error) {
	for _, unique := range []struct {
		document, field string
		value           any
	}{
		{"name", "name", wanted.Name}, {"email_key", "email", wanted.EmailKey}, {"_id", "account_id", wanted.ID},
	} {
		owner, err := s.read(ctx, unique.document, unique.value)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return nil, "", err
		case !isWanted(owner):
			return owner, unique.field, nil
		default:
			found = owner
		}
	}
	return found, "", nil
}

// Update is as [store.Backend] says. It takes one round trip to read and one to write,
// unless somebody else writes in between.
//
// The write replaces the document if its version is still the one that was read. If the
// reply to the write is lost, or the server lacks a majority, Update reads the document
// again. If the document has the version of Update's own write, the write was done, and
// Update returns nil once a majority has it. If somebody else has written since then,
// change runs again and finds its own work done. So nothing is done twice, and a lost
// reply logs nobody out.
//
// Update returns an error of change only once a majority has the record that change saw.
// This includes [store.ErrUnchanged]. For example, a session that change found ended
// cannot come back. Calls of one process that update the same account take turns, see
// Config.Timeout.
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
	u := accountUpdate{Store: s, writer: w, id: id, change: change, inherited: written}
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

	inherited *account // what the call before this one wrote; nil once it is used
	written   *account // what this call wrote
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
		if done && !errors.Is(answer, store.ErrUnchanged) {
			err = answer
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

// current returns the current account. A call that waited for its turn uses what the call
// before it wrote, and saves a round trip. If somebody else has written since then, neither
// a write nor a confirmation matches, and the call starts over.
func (u *accountUpdate) current(ctx context.Context) (*account, error) {
	if inherited := u.inherited; inherited != nil {
		u.inherited = nil
		return &account{Account: *inherited.Clone(), Version: inherited.Version}, nil
	}
	return u.read(ctx, "_id", u.id)
}

// taken reports whether another account has the name or the e-mail of wanted, and a majority
// has that account.
func (s *Store) taken(ctx context.Context, wanted *store.Account) (bool, error) {
	holder, field, err := s.holder(ctx, wanted, func(found *account) bool { return found.ID == wanted.ID })
	if err != nil || field == "" {
		return false, err
	}
	if sure, _ := confirm(ctx, s.accounts, holder.ID, holder.Version); !sure {
		return false, nil
	}
	return true, &store.ExistsError{Field: field}
}

// Delete is as [store.Backend] says. If a reply is lost and the document does not exist
// afterwards, Delete returns nil: this call has removed it, or another call that wanted the
// same. If the server lacks a majority for the deletion, Delete repeats it. The server
// answers the repeated deletion once a majority has the first one.
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
