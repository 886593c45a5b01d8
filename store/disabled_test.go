package store_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
)

// TestDisabledAccountCannotHelpItself checks that the right password does not help either.
func TestDisabledAccountCannotHelpItself(t *testing.T) {
	for name, call := range withPassword {
		t.Run(name, func(t *testing.T) {
			k := newLifeKit(t, store.Config{})
			account := k.create(t, "ada")
			require.NoError(t, k.Disable(t.Context(), account.ID))
			disabled := k.find(t, account.ID)
			assert.ErrorIs(t, call(t, k, account.ID, secret), store.ErrDisabled)
			assert.ErrorIs(t, call(t, k, account.ID, "wrong"), store.ErrCredentials)
			assert.Equal(t, disabled, k.find(t, account.ID))
			assert.Empty(t, k.take(), "nothing is mailed")
		})
	}
}
