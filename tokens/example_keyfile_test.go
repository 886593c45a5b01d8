package tokens_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/oauthsv/oauthsv/tokens"
)

// The first start of a server makes the key file. The next start reads the same key. A
// file without a usable key is refused.
func ExampleOpenKeyring() {
	directory, err := os.MkdirTemp("", "oauthsv")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(directory)
	file := tokens.KeyFile{Path: filepath.Join(directory, "oauthsv.key"), Algorithm: tokens.EdDSA}

	first, err := tokens.OpenKeyring(file)
	if err != nil {
		panic(err)
	}
	fmt.Println("first start: made the file:", first.Created())

	next, err := tokens.OpenKeyring(file)
	if err != nil {
		panic(err)
	}
	fmt.Println("next start: made the file:", next.Created())
	fmt.Println("same key:", next.Active().ID() == first.Active().ID(), next.Active().Algorithm())

	if err := os.WriteFile(file.Path, []byte("seven77"), 0o600); err != nil {
		panic(err)
	}
	_, err = tokens.OpenKeyring(file)
	fmt.Println("a short secret is refused:", errors.Is(err, tokens.ErrKey))
	// Output:
	// first start: made the file: true
	// next start: made the file: false
	// same key: true EdDSA
	// a short secret is refused: true
}
