package password_test

import (
	"context"
	"fmt"

	"github.com/oauthsv/oauthsv/store/password"
)

func Example() {
	hasher, err := password.New(password.Config{})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	hash, err := hasher.Hash(ctx, "correct horse")
	if err != nil {
		panic(err)
	}
	fmt.Println(hash[:31])

	// A program would look the hash up in its database here.
	stored := func() (string, error) { return hash, nil }
	for _, guess := range []string{"correct horse", "battery staple"} {
		match, outdated, err := hasher.Verify(ctx, guess, stored)
		if err != nil {
			panic(err)
		}
		fmt.Println(guess, match, outdated)
	}
	// Output:
	// $argon2id$v=19$m=19456,t=2,p=1$
	// correct horse true false
	// battery staple false false
}
