package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

func TestEmailChangeTellsTheOldAddress(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	account := k.create(t, "ada")
	ref := k.login(t, account)
	require.NoError(t, k.StartEmailChange(t.Context(), account.ID, store.EmailChange{
		Email: "New@Example.org", CurrentPassword: secret, Address: "192.0.2.1",
	}))
	mail := k.mail(t, store.MailEmailChange)
	assert.Equal(t, store.Mail{
		Kind: store.MailEmailChange, To: "New@Example.org", NewEmail: "New@Example.org", Account: "ada", Time: epoch, Address: "192.0.2.1",
		Code: mail.Code, Expires: epoch.Add(time.Hour),
	}, mail)
	assert.Equal(t, "ada@example.org", k.find(t, account.ID).Email, "nothing changes before the code is confirmed")

	require.NoError(t, k.ConfirmEmailChange(t.Context(), account.ID, mail.Code))
	changed := k.find(t, account.ID)
	assert.Equal(t, []string{"New@Example.org", "new@example.org"}, []string{changed.Email, changed.EmailKey})
	assert.Equal(t, store.Mail{
		Kind: store.MailEmailChanged, To: "ada@example.org", NewEmail: "New@Example.org", Account: "ada", Time: epoch,
	}, k.mail(t, store.MailEmailChanged))
	_, err := k.FindBySession(t.Context(), ref)
	assert.NoError(t, err, "the session lives on")
	assert.True(t, k.passwordIs(t, "new@example.org", secret))
	assert.False(t, k.passwordIs(t, "ada@example.org", secret))
	assert.ErrorIs(t, k.ConfirmEmailChange(t.Context(), account.ID, mail.Code), store.ErrCode)
}

func TestEmailChangeIsForTheAccountThatAsked(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	ada, grace := k.create(t, "ada"), k.create(t, "grace")
	for _, id := range []store.ID{ada.ID, grace.ID} { // as accounts of an older program: both have the same version
		require.NoError(t, k.backend.Update(t.Context(), id, func(a *store.Account) error { a.CredentialsVersion = 0; return nil }))
	}
	code := k.emailCode(t, ada.ID, "new@example.org")
	assert.ErrorIs(t, k.ConfirmEmailChange(t.Context(), grace.ID, code), store.ErrCode)
	assert.ErrorIs(t, k.ConfirmEmailChange(t.Context(), store.NewID(), code), store.ErrCode)
	assert.NoError(t, k.ConfirmEmailChange(t.Context(), ada.ID, code), "the others did not use it up")
}

func TestEmailChangeToATakenAddress(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	ada := k.create(t, "ada")
	code := k.emailCode(t, ada.ID, "grace@example.org")
	grace := k.create(t, "grace")
	for range 2 {
		requireExists(t, k.ConfirmEmailChange(t.Context(), ada.ID, code), "email")
	}
	require.NoError(t, k.StartEmailChange(t.Context(), ada.ID, store.EmailChange{Email: "GRACE@example.org", CurrentPassword: secret}))
	mail := k.mail(t, store.MailAddressInUse)
	assert.Equal(t, []string{"grace@example.org", "grace", ""}, []string{mail.To, mail.Account, mail.Code})
	require.NoError(t, k.Remove(t.Context(), grace.ID))
	assert.NoError(t, k.ConfirmEmailChange(t.Context(), ada.ID, code), "the code stayed good")
}

// TestOwnAddressInAnotherSpelling checks a change that leaves the compared form as it is.
func TestOwnAddressInAnotherSpelling(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	ada := k.create(t, "ada")
	require.NoError(t, k.ConfirmEmailChange(t.Context(), ada.ID, k.emailCode(t, ada.ID, "Ada@Example.org")))
	assert.Equal(t, "Ada@Example.org", k.find(t, ada.ID).Email)
	k.mail(t, store.MailEmailChanged)
}

// TestLateEmailChangeMail checks a mail whose work runs after another change. Its code is
// for the account as it was at the start, so it is void.
func TestLateEmailChangeMail(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	ada := k.create(t, "ada")
	require.NoError(t, k.StartEmailChange(t.Context(), ada.ID, store.EmailChange{Email: "new@example.org", CurrentPassword: secret}))
	work := k.take()
	require.NoError(t, k.SetPassword(t.Context(), ada.ID, newSecret))
	mail, err := work[0](t.Context())
	require.NoError(t, err)
	if mail != nil && mail.Code != "" {
		assert.ErrorIs(t, k.ConfirmEmailChange(t.Context(), ada.ID, mail.Code), store.ErrCode)
	}
}

func TestConfirmEmailChangeKeepsTheCode(t *testing.T) {
	backend := &failingBackend{Backend: memstore.New()}
	k := newLifeKit(t, store.Config{Backend: backend})
	ada := k.create(t, "ada")
	code := k.emailCode(t, ada.ID, "new@example.org")
	for _, method := range []string{"UpdateRecord", "Update"} {
		backend.err = map[string]error{"UpdateRecord": errDisk}[method]
		backend.failNext(method)
		err := k.ConfirmEmailChange(t.Context(), ada.ID, code)
		require.ErrorIs(t, err, store.ErrUnavailable, method)
		require.NotErrorIs(t, err, store.ErrCode)
	}
	assert.NoError(t, k.ConfirmEmailChange(t.Context(), ada.ID, code))
}
