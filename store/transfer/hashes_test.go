package transfer_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/password"
	"github.com/oauthsv/oauthsv/store/transfer"
)

const secret = "correct horse"

// foreign are hashes of secret. The Python packages bcrypt, passlib and Django made those of
// other systems.
func foreign(t *testing.T) map[string]string {
	t.Helper()
	dearer, err := password.New(password.Config{Memory: 16, Iterations: 2})
	require.NoError(t, err)
	argon2id, err := dearer.Hash(t.Context(), secret)
	require.NoError(t, err)
	return map[string]string{
		"bcrypt":         "$2b$04$2WXTNNi9BUrQQHSCJ6n6V.dOuLz9MKGYFjMqbXlmU.v7G7j8CW0Oy",
		"passlib-pbkdf2": "$pbkdf2-sha256$1000$NUbIGUPoHWPM.T.HcM75nw$HbCWIPRnHzQUJXNncMemmXo2MogmV.OER.SkqJ/j9M8",
		"passlib-scrypt": "$scrypt$ln=4,r=8,p=1$KCWEkJISovQ+Z0yJ8Z7T2g$d5mZenf4Z/MlBO7+IpZ1BcwfR5fuvkiBgq16Pqy1MGE",
		"Django-pbkdf2":  "pbkdf2_sha256$1000$seaSALT12$RSoiE6CpDK0lK7c/STSg7N5AkalpHnLcAr4riZGhGug=",
		"Django-scrypt":  "scrypt$16$seaSALT12$8$1$J63GW/i8YmQw30wXk4NOHjhxaRC0wDZq5ZUkxnryYHrlrE6vvl8Ts8sFYt1884OZAsewepvh2vV8w+lC7OGTJQ==",
		"argon2id":       argon2id,
		"wrapped":        "$argon2id-sha224$v=19$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MCyRpM1kngsaS8BfI5LBIvUcuJWk4g29xArlNsna6n8",
	}
}

// TestImportedHashesLogIn checks a login with the hash that came in, which replaces it, and
// one with the hash that took its place.
func TestImportedHashesLogIn(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		accounts := newAccounts(t, backend)
		digest := fmt.Sprintf("%x", sha256.Sum224([]byte(secret)))
		var text strings.Builder
		names := []string{"digest", "capitals"}
		fmt.Fprintf(&text, `{"name":"digest","email":"digest@example.org","sha224":"%s"}`+"\n", digest)
		fmt.Fprintf(&text, `{"name":"capitals","email":"capitals@example.org","sha224":"%s"}`+"\n", strings.ToUpper(digest))
		fmt.Fprintln(&text, `{"name":"none","email":"none@example.org"}`)
		for name, hash := range foreign(t) {
			names = append(names, name)
			fmt.Fprintf(&text, `{"name":"%s","email":"%s@example.org","password_hash":"%s"}`+"\n", name, name, hash)
		}
		result := importFrom(t.Context(), t, accounts, strings.NewReader(text.String()))
		require.Equal(t, transfer.Counts{Imported: len(names) + 1}, result.Counts, result.refused)

		exported := export(t, accounts)
		assert.NotContains(t, strings.ToLower(exported), digest, "no bare digest is kept")
		assert.NotContains(t, exported, `"sha224"`)
		for name, hash := range foreign(t) {
			if name != "argon2id" { // it has another salt each time
				quoted, err := json.Marshal(hash)
				require.NoError(t, err)
				assert.Contains(t, exported, string(quoted), name)
			}
		}
		login := func(name, guess string) error {
			_, err := accounts.Login(t.Context(), store.Login{Username: name, Password: guess, Session: store.NewSession{ClientID: "app"}})
			return err
		}
		for _, name := range names {
			before, err := accounts.FindByName(t.Context(), name)
			require.NoError(t, err)
			if strings.HasPrefix(before.Email, "digest") || strings.HasPrefix(before.Email, "capitals") {
				assert.Regexp(t, `^\$argon2id-sha224\$v=19\$m=8,t=1,p=1\$`, before.PasswordHash)
			}
			require.ErrorIs(t, login(name, digest), store.ErrCredentials, "%s: a digest is no password", name)
			require.NoError(t, login(name, secret), name)
			after, err := accounts.FindByName(t.Context(), name)
			require.NoError(t, err)
			assert.Regexp(t, `^\$argon2id\$v=19\$m=8,t=1,p=1\$`, after.PasswordHash, name)
			require.NoError(t, login(name, secret), name)
			require.ErrorIs(t, login(name, "correct hors"), store.ErrCredentials, name)
		}
		none, err := accounts.FindByName(t.Context(), "none")
		require.NoError(t, err)
		assert.Empty(t, none.PasswordHash)
		require.ErrorIs(t, login("none", ""), store.ErrCredentials)
		require.ErrorIs(t, login("none", secret), store.ErrCredentials)
	})
}

// countingHasher counts the digests that it wraps.
type countingHasher struct {
	*password.Hasher
	wrapped atomic.Int64
}

func (c *countingHasher) WrapSHA224(ctx context.Context, digest string) (string, error) {
	c.wrapped.Add(1)
	return c.Hasher.WrapSHA224(ctx, digest)
}

func digests(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `{"name":"user-%d","email":"user-%d@example.org","sha224":"%x"}`+"\n", i, i, sha256.Sum224([]byte{byte(i)}))
	}
	return text.String()
}

// TestSecondRunWrapsNothing: a digest costs as much as a login, and an import that was
// stopped is to go on where it was.
func TestSecondRunWrapsNothing(t *testing.T) {
	accounts, hasher := newAccounts(t, memstore.New()), &countingHasher{Hasher: newHasher(t)}
	for range 2 {
		_, err := transfer.Import(t.Context(), transfer.Config{Accounts: accounts, Hasher: hasher}, transfer.ReadLines(strings.NewReader(digests(10))))
		require.NoError(t, err)
	}
	assert.Equal(t, int64(10), hasher.wrapped.Load())
}

// TestManyWorkersDoNotOverloadTheHasher: more workers than may wait to hash are no reason to
// refuse a record.
func TestManyWorkersDoNotOverloadTheHasher(t *testing.T) {
	hasher, err := password.New(password.Config{Memory: 1024, Iterations: 1, MaxWaiting: 2})
	require.NoError(t, err)
	accounts := newAccounts(t, memstore.New())
	counts, err := transfer.Import(t.Context(), transfer.Config{Accounts: accounts, Hasher: hasher, Workers: 64}, transfer.ReadLines(strings.NewReader(digests(200))))
	require.NoError(t, err)
	assert.Equal(t, transfer.Counts{Imported: 200}, counts)
}

// overloadedHasher is busy with the logins of somebody else.
type overloadedHasher struct{ *password.Hasher }

func (overloadedHasher) WrapSHA224(context.Context, string) (string, error) {
	return "", password.ErrOverloaded
}

func TestOverloadedHasherEndsTheImport(t *testing.T) {
	accounts := newAccounts(t, memstore.New())
	counts, err := transfer.Import(t.Context(), transfer.Config{Accounts: accounts, Hasher: overloadedHasher{newHasher(t)}}, transfer.ReadLines(strings.NewReader(digests(5))))
	require.ErrorIs(t, err, password.ErrOverloaded)
	assert.Zero(t, counts)
}
