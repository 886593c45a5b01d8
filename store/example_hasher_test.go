package store_test

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/password"
)

// migratingHasher also verifies the bcrypt hashes of accounts that moved in from another
// system. Their next login replaces them with argon2id.
type migratingHasher struct {
	*password.Hasher        // makes all new hashes
	oldCost          int    // the bcrypt cost of the other system
	nobody           string // a bcrypt hash of that cost, of no account's password
}

func newMigratingHasher(oldCost int) (*migratingHasher, error) {
	hasher, err := password.New(password.Config{})
	if err != nil {
		return nil, err
	}
	nobody, err := bcrypt.GenerateFromPassword([]byte("nobody"), oldCost)
	if err != nil {
		return nil, err
	}
	return &migratingHasher{hasher, oldCost, string(nobody)}, nil
}

// Verify does the work of one bcrypt hash and one argon2id hash for every login. So its
// time does not reveal whether the account exists, or which kind of hash it has.
func (h *migratingHasher) Verify(ctx context.Context, pass string, stored func() (string, error)) (match, outdated bool, err error) {
	var isOld, oldMatch bool
	var oldErr error
	match, outdated, err = h.Hasher.Verify(ctx, pass, func() (string, error) {
		hash, err := stored() // called once, when it is this caller's turn
		if err != nil {
			return "", err
		}
		if isOld = strings.HasPrefix(hash, "$2"); !isOld {
			_, _ = h.verifyOld(h.nobody, pass)
			return hash, nil
		}
		oldMatch, oldErr = h.verifyOld(hash, pass)
		return "", nil // an empty hash matches nothing and takes the usual time
	})
	if err == nil && isOld {
		return oldMatch, true, oldErr
	}
	return match, outdated, err
}

func (h *migratingHasher) verifyOld(hash, pass string) (match bool, err error) {
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil {
		return false, password.ErrHash
	}
	if cost > h.oldCost {
		return false, password.ErrTooCostly
	}
	return bcrypt.CompareHashAndPassword([]byte(hash), []byte(pass)) == nil, nil
}

// Accounts move in with their bcrypt hashes. A login with the right password replaces
// the hash.
func ExamplePasswordHasher() {
	ctx := context.Background()
	hasher, err := newMigratingHasher(bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	accounts, err := store.NewAccounts(store.Config{Backend: memstore.New(), Passwords: hasher})
	if err != nil {
		panic(err)
	}
	fromElsewhere, err := bcrypt.GenerateFromPassword([]byte("correct horse battery staple"), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	ada, err := accounts.Create(ctx, store.NewAccount{
		Name: "ada", Email: "ada@example.org", PasswordHash: string(fromElsewhere),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(ada.PasswordHash[:7])

	_, err = accounts.VerifyPassword(ctx, "ada", "battery staple")
	fmt.Println(err)
	ada, err = accounts.VerifyPassword(ctx, "ada", "correct horse battery staple")
	if err != nil {
		panic(err)
	}
	fmt.Println(ada.PasswordHash[:31])
	_, err = accounts.VerifyPassword(ctx, "ada", "correct horse battery staple") // the argon2id hash now
	fmt.Println(err)
	// Output:
	// $2a$04$
	// store: unknown name or wrong password
	// $argon2id$v=19$m=19456,t=2,p=1$
	// <nil>
}
