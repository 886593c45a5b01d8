package middlewaretest

import (
	"testing"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/password"
)

// Hasher returns a password hasher for store.Config.Passwords that takes microseconds
// and protects nothing. It panics in a program that is not a test.
func Hasher() store.PasswordHasher {
	if !testing.Testing() {
		panic("middlewaretest: Hasher protects no password and works in tests alone: use password.New")
	}
	hasher, err := password.New(password.Config{Memory: 8, Iterations: 1})
	if err != nil {
		panic("middlewaretest: " + err.Error()) // the configuration is fixed
	}
	return hasher
}
