package store_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/password"
)

// The same password with a combining accent, and in Unicode NFC.
const (
	decomposed = "cafe\u0301 au lait"
	composed   = "caf\u00e9 au lait"
)

// movedIn are hashes of decomposed that other systems made of its bytes as they are.
func movedIn(t *testing.T, hasher *password.Hasher) map[string]string {
	wrapped, err := hasher.WrapSHA224(t.Context(), "b4de39ce27128d30f074c5bf4dcef62fe190edcd68fe71fb2df00fa6")
	require.NoError(t, err)
	return map[string]string{
		"bcrypt":  "$2b$04$/VLCiOMf8..E/RiOLlMLtOYWLmoEHL1MT3tBfS5Y4FrZGx/RK8Qq2",
		"pbkdf2":  "pbkdf2_sha256$1000$seaSALT12$KTG79enjhWrA90gRC7Mwzo12Qn4yTmv/dJt1i5CIAg4=",
		"scrypt":  "$scrypt$ln=4,r=8,p=1$JKQ0xpjzvneu9R6DEEKIMQ$gbXEP1i7K2xjzaBKgn1N/5yZpHTO74WPJ1fhOpd9ppU",
		"SHA-224": wrapped,
	}
}

func TestLoginReplacesHashOfOtherSystem(t *testing.T) {
	hasher, err := password.New(password.Config{Memory: 8, Iterations: 1})
	require.NoError(t, err)
	k := newKit(t, store.Config{Passwords: hasher})
	for name, hash := range movedIn(t, hasher) {
		account, err := k.Create(t.Context(), store.NewAccount{Name: name, Email: name + "@example.org", PasswordHash: hash})
		require.NoError(t, err, name)
		login := func(guess string) error {
			_, err := k.Login(t.Context(), store.Login{Username: name, Password: guess, Session: store.NewSession{ClientID: "app"}})
			return err
		}
		require.ErrorIs(t, login("secret"), store.ErrCredentials, name)
		assert.Equal(t, hash, k.backendFind(t, account.ID).PasswordHash, name)
		require.NoError(t, login(decomposed), name)
		assert.Regexp(t, `^\$argon2id\$`, k.backendFind(t, account.ID).PasswordHash, name)
		require.NoError(t, login(composed), "%s: from now on in NFC", name)
		require.NoError(t, login(decomposed), name)
	}
}

func TestChangePasswordKnowsHashOfOtherSystem(t *testing.T) {
	hasher, err := password.New(password.Config{Memory: 8, Iterations: 1})
	require.NoError(t, err)
	k := newKit(t, store.Config{Passwords: hasher})
	for name, hash := range movedIn(t, hasher) {
		account, err := k.Create(t.Context(), store.NewAccount{Name: name, Email: name + "@example.org", PasswordHash: hash})
		require.NoError(t, err, name)
		change := func(current string) error {
			_, err := k.ChangePassword(t.Context(), account.ID, current, "plum engine corner", store.NewSession{ClientID: "app"})
			return err
		}
		require.ErrorIs(t, change("secret"), store.ErrCredentials, name)
		require.NoError(t, change(decomposed), name)
		_, err = k.VerifyPassword(t.Context(), name, "plum engine corner")
		assert.NoError(t, err, name)
	}
}
