package storetest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
)

// testUnknownMembers checks the members that a newer version has added to a record or to
// a session in it. They survive a write by this version that changes something else.
func testUnknownMembers(t *testing.T, backend store.Backend) {
	// Every encoding can tell the types of these values apart.
	added := func(text string) map[string]any {
		return map[string]any{"later_text": text, "later_count": int64(1) << 40, "later_flag": true}
	}
	account := newAccount("ada")
	account.Unknown = added("account")
	for _, id := range []string{"one", "two", "three"} {
		account.Sessions = append(account.Sessions, store.Session{
			ID: id, ClientID: "client", Generation: 1, Created: epoch, Rotated: epoch, Expires: epoch, Unknown: added(id),
		})
	}
	account.Sessions[2].Unknown = nil
	require.NoError(t, backend.Create(t.Context(), account))
	assert.Equal(t, account, find(t, backend, account.ID))

	require.NoError(t, backend.Update(t.Context(), account.ID, func(a *store.Account) error {
		assert.Equal(t, account, a)
		a.Phone = "+49 30 1234567"
		a.Sessions = a.Sessions[1:]
		a.Sessions[0].Generation++
		return nil
	}))
	found := find(t, backend, account.ID)
	assert.Equal(t, "+49 30 1234567", found.Phone)
	assert.Equal(t, added("account"), found.Unknown)
	require.Len(t, found.Sessions, 2)
	assert.Equal(t, int64(2), found.Sessions[0].Generation)
	assert.Equal(t, added("two"), found.Sessions[0].Unknown)
	assert.Empty(t, found.Sessions[1].Unknown)
	byName, err := backend.FindByName(t.Context(), "ada")
	require.NoError(t, err)
	assert.Equal(t, found, byName)
}
