package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
)

// TestChangesThatChangeNothing: an administrator may send what is so already.
func TestChangesThatChangeNothing(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	account := k.create(t, "ada")
	ref := k.login(t, account)
	before := k.find(t, account.ID)
	k.now = k.now.Add(time.Minute)
	no, name, email, phone := false, "ADA", "ada@example.org", ""
	changed, err := k.Change(t.Context(), account.ID, store.Changes{Name: &name, Email: &email, Phone: &phone, Disabled: &no})
	require.NoError(t, err)
	assert.Equal(t, before, changed)
	assert.Equal(t, before, k.find(t, account.ID))
	assert.Empty(t, k.take(), "nothing is mailed")
	assert.NoError(t, second(k.FindBySession(t.Context(), ref)))
}

func TestChangesNameEachWrongField(t *testing.T) {
	k := newKit(t, store.Config{})
	account := k.create(t, "ada")
	name, email, phone := "a b", "x", "call me"
	_, err := k.Change(t.Context(), account.ID, store.Changes{Name: &name, Email: &email, Phone: &phone})
	require.ErrorIs(t, err, store.ErrInvalid)
	for _, field := range []string{"name", "email", "phone"} {
		assert.ErrorContains(t, err, "invalid "+field)
	}
	assert.Equal(t, account, k.find(t, account.ID))
}

// TestFieldsOfChangesAreNamedAsInJSON: an event tells by these names what an administrator changed.
func TestFieldsOfChangesAreNamedAsInJSON(t *testing.T) {
	text, yes := "x", true
	for want, changes := range map[string]store.Changes{
		"":                                   {},
		"name":                               {Name: &text},
		"email":                              {Email: &text},
		"phone":                              {Phone: &text},
		"password":                           {Password: &text},
		"disabled":                           {Disabled: &yes},
		"name email phone password disabled": {Name: &text, Email: &text, Phone: &text, Password: &text, Disabled: &yes},
	} {
		assert.Equal(t, want, strings.Join(changes.Fields(), " "))
	}
}
