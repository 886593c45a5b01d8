package transfer_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/password"
	"github.com/oauthsv/oauthsv/store/transfer"
)

// Accounts come from another system, with the hashes that it made. One line is broken.
func ExampleImport() {
	ctx := context.Background()
	hasher, err := password.New(password.Config{})
	if err != nil {
		panic(err)
	}
	accounts, err := store.NewAccounts(store.Config{Backend: memstore.New(), Passwords: hasher})
	if err != nil {
		panic(err)
	}
	const lines = `{"name": "ada", "email": "ada@example.org", "password_hash": "pbkdf2_sha256$1000$seaSALT12$RSoiE6CpDK0lK7c/STSg7N5AkalpHnLcAr4riZGhGug="}
{"name": "bob", "email": "bob"}
{"name": "carol", "email": "carol@example.org", "sha224": "02c6c82cfdc75d3db15a2fccbeae8aed92de86e4f9b1f9e7cc0a2e52"}
`
	counts, err := transfer.Import(ctx, transfer.Config{
		Accounts: accounts, Hasher: hasher,
		Refused: func(number int, reason error) { fmt.Printf("line %d: %v\n", number, reason) },
	}, transfer.ReadLines(strings.NewReader(lines)))
	if err != nil {
		panic(err)
	}
	fmt.Printf("%+v\n", counts)

	// Ada has her old password.
	ada, err := accounts.VerifyPassword(ctx, "ada", "correct horse")
	if err != nil {
		panic(err)
	}
	fmt.Println(ada.Name)
	// Output:
	// line 2: store: invalid email: must be one address such as name@example.org, of at most 254 bytes
	// {Imported:2 Present:0 Refused:1}
	// ada
}

// Each account is a line.
func ExampleExport() {
	ctx := context.Background()
	accounts, err := store.NewAccounts(store.Config{Backend: memstore.New()})
	if err != nil {
		panic(err)
	}
	made := store.NewAccount{
		ID: store.ID{11: 1}, Name: "ada", Email: "ada@example.org", NoPassword: true, Groups: []string{"editors"},
	}
	if _, err := accounts.Create(ctx, made); err != nil {
		panic(err)
	}
	var lines strings.Builder
	written, err := transfer.Export(ctx, accounts, &lines, store.NilID, nil)
	if err != nil {
		panic(err)
	}
	line, _, _ := strings.Cut(lines.String(), `,"created"`)
	fmt.Println(written, line)
	// Output: 1 {"account_id":"000000000000000000000001","name":"ada","email":"ada@example.org","groups":["editors"]
}

// A line that is no record is an error of its place.
func ExampleReadLines() {
	const lines = `{"name": "ada", "email": "ada@example.org"}

{"name": "bob", "groups": "editors"}
`
	for record, err := range transfer.ReadLines(strings.NewReader(lines)) {
		fmt.Println(record.Number, record.Name, err)
	}
	// Output:
	// 1 ada <nil>
	// 3 bob groups has the wrong type or form
}
