package main

import (
	"context"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/oauthsv/oauthsv/store/password"
)

// hasher also verifies the bcrypt hashes that the shop's users had before. The next login of
// a user replaces the hash with argon2id. It is the example of store.PasswordHasher.
type hasher struct {
	*password.Hasher        // makes all new hashes
	nobody           string // a bcrypt hash of no user's password
}

// oldCost is the bcrypt cost of the shop's old hashes.
const oldCost = 10

func newHasher() (*hasher, error) {
	argon2id, err := password.New(password.Config{})
	if err != nil {
		return nil, err
	}
	nobody, err := bcrypt.GenerateFromPassword([]byte("nobody"), oldCost)
	return &hasher{argon2id, string(nobody)}, err
}

// Verify does the work of one bcrypt hash and one argon2id hash for every login. So its time
// reveals neither whether the account exists, nor which kind of hash it has.
func (h *hasher) Verify(ctx context.Context, pass string, stored func() (string, error)) (match, outdated bool, err error) {
	var isOld, oldMatch bool
	var oldErr error
	match, outdated, err = h.Hasher.Verify(ctx, pass, func() (string, error) {
		hash, err := stored()
		if err != nil {
			return "", err
		}
		if isOld = strings.HasPrefix(hash, "$2"); !isOld {
			_, _ = verifyOld(h.nobody, pass)
			return hash, nil
		}
		oldMatch, oldErr = verifyOld(hash, pass)
		return "", nil // an empty hash matches nothing and takes the usual time
	})
	if err == nil && isOld {
		return oldMatch, true, oldErr
	}
	return match, outdated, err
}

func verifyOld(hash, pass string) (match bool, err error) {
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil {
		return false, password.ErrHash
	}
	if cost > oldCost {
		return false, password.ErrTooCostly
	}
	return bcrypt.CompareHashAndPassword([]byte(hash), []byte(pass)) == nil, nil
}
