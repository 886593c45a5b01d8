package store_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
)

// walksVariable makes the walk longer: it is how many walks there are.
const walksVariable = "OAUTHSV_TEST_LIFE_WALKS"

const (
	walkSteps  = 80
	walkPeople = 3 // names and e-mails, so that they often meet
)

// lifeWalk takes random steps in the life of a few accounts, and knows from a model what
// each must return. The model has no hashes, records and versions: it lists the accounts and
// the codes, and strikes out codes one by one.
type lifeWalk struct {
	*lifeKit
	t        *testing.T
	random   *rand.Rand
	accounts []*walkAccount // the living ones
	codes    []*walkCode
	late     []walkMail
	serial   int // makes passwords differ
	used     map[store.MailKind]int
}

type walkAccount struct {
	id                    store.ID
	name, email, password string
	disabled              bool
}

// walkCode is a code that was mailed. Only the model of it decides what it may do.
type walkCode struct {
	text    string
	kind    store.MailKind
	owner   *walkAccount // of a registration: the account that came of it, or nil
	made    *walkRequest // of a registration: what all codes of one start share
	name    string       // of a registration
	email   string       // of a registration and of a change
	expires time.Time
	void    bool
}

// walkRequest is one start of a registration.
type walkRequest struct{ account *walkAccount }

// walkMail is work of the Mailer that has not run yet.
type walkMail struct {
	prepare prepareMail
	address string
	code    walkCode // what the mail brings if it brings one
	voided  *bool    // of a change of e-mail: whether the account changed since the start
}

func (w *lifeWalk) name() string { return fmt.Sprint("name", w.random.IntN(walkPeople)) }
func (w *lifeWalk) email() string {
	return fmt.Sprintf("mail%d@example.org", w.random.IntN(walkPeople))
}

func (w *lifeWalk) password() string {
	w.serial++
	return fmt.Sprint("nine-kettles-sing-at-noon-", w.serial)
}

func (w *lifeWalk) findBy(match func(*walkAccount) bool) *walkAccount {
	for _, account := range w.accounts {
		if match(account) {
			return account
		}
	}
	return nil
}

func (w *lifeWalk) byEmail(email string) *walkAccount {
	return w.findBy(func(a *walkAccount) bool { return a.email == email })
}

func (w *lifeWalk) alive(account *walkAccount) bool {
	return w.findBy(func(a *walkAccount) bool { return a == account }) != nil
}

// voidCodes strikes out the codes of an account, and those that are still to be mailed for a
// change of its e-mail.
func (w *lifeWalk) voidCodes(account *walkAccount) {
	for _, code := range w.codes {
		if code.kind != store.MailRegistration && code.owner == account {
			code.void = true
		}
	}
	for _, mail := range w.late {
		if mail.voided != nil && mail.code.owner == account {
			*mail.voided = true
		}
	}
}

// start takes over the work of a mail.
func (w *lifeWalk) start(mail walkMail, err error) {
	require.NoError(w.t, err)
	work := w.take()
	require.Len(w.t, work, 1)
	mail.prepare = work[0]
	w.late = append(w.late, mail)
	if w.random.IntN(4) > 0 {
		w.deliver()
	}
}

// deliver runs the work of one mail, and sometimes runs it again later.
func (w *lifeWalk) deliver() {
	if len(w.late) == 0 {
		return
	}
	i := w.random.IntN(len(w.late))
	mail := w.late[i]
	if w.random.IntN(4) > 0 {
		w.late = append(w.late[:i], w.late[i+1:]...)
	}
	sent, err := mail.prepare(w.t.Context())
	require.NoError(w.t, err)
	code := mail.code
	owner := w.byEmail(mail.address)
	switch {
	case code.kind == store.MailPasswordReset:
		if owner == nil || owner.disabled {
			require.Nil(w.t, sent)
			return
		}
		code.owner = owner
	case code.kind == store.MailRegistration && owner != nil && owner == code.made.account:
		if sent == nil || sent.Code == "" {
			return // a mail about an account that its own code has made may say anything
		}
	case owner != nil && (code.owner == nil || owner.id != code.owner.id):
		require.Equal(w.t, store.MailAddressInUse, sent.Kind)
		require.Empty(w.t, sent.Code)
		return
	}
	if mail.voided != nil && (*mail.voided || !w.alive(code.owner)) {
		code.void = true
		if sent == nil || sent.Code == "" {
			return // as good as a code that is void
		}
	}
	require.Equal(w.t, code.kind, sent.Kind)
	require.Equal(w.t, mail.address, sent.To)
	require.Equal(w.t, w.now.Add(time.Hour), sent.Expires)
	code.text, code.expires = sent.Code, sent.Expires
	w.codes = append(w.codes, &code)
}

// anyCode returns a random code, rather a new one of the kind. It may be of any kind, used,
// void or expired.
func (w *lifeWalk) anyCode(kind store.MailKind) *walkCode {
	code := &walkCode{text: "00000-00000-00000-00000-000000", void: true}
	for range 4 {
		if len(w.codes) > 0 && code.kind != kind {
			code = w.codes[max(w.random.IntN(len(w.codes)), w.random.IntN(len(w.codes)))]
		}
	}
	return code
}

// good reports whether the model lets a code of this kind through.
func (w *lifeWalk) good(code *walkCode, kind store.MailKind) bool {
	switch {
	case code.kind != kind || code.void || !w.now.Before(code.expires):
		return false
	case kind == store.MailRegistration:
		return code.made.account == nil || !w.alive(code.made.account)
	}
	return w.alive(code.owner) && !code.owner.disabled
}

func (w *lifeWalk) confirmRegistration() {
	code, name, password := w.anyCode(store.MailRegistration), w.name(), w.password()
	wanted := store.RegistrationConfirmation{Code: code.text, Password: password}
	if w.random.IntN(3) == 0 {
		wanted.Name = name
	} else {
		name = code.name
	}
	account, err := w.ConfirmRegistration(w.t.Context(), wanted)
	switch {
	case !w.good(code, store.MailRegistration):
		require.ErrorIs(w.t, err, store.ErrCode)
	case w.findBy(func(a *walkAccount) bool { return a.name == name }) != nil:
		requireExists(w.t, err, "name")
	case w.byEmail(code.email) != nil:
		requireExists(w.t, err, "email")
	default:
		require.NoError(w.t, err)
		made := &walkAccount{id: account.ID, name: name, email: code.email, password: password}
		w.accounts = append(w.accounts, made)
		code.void, code.made.account = true, made
		w.used[code.kind]++
	}
}

func (w *lifeWalk) confirmReset() {
	code, password := w.anyCode(store.MailPasswordReset), w.password()
	id, err := w.ConfirmPasswordReset(w.t.Context(), code.text, password, "")
	if !w.good(code, store.MailPasswordReset) {
		require.ErrorIs(w.t, err, store.ErrCode)
		return
	}
	require.NoError(w.t, err)
	require.Equal(w.t, code.owner.id, id)
	require.Empty(w.t, w.find(w.t, id).Sessions)
	code.owner.password = password
	w.voidCodes(code.owner)
	w.used[code.kind]++
}

func (w *lifeWalk) confirmEmail(account *walkAccount) {
	code := w.anyCode(store.MailEmailChange)
	if w.alive(code.owner) && w.random.IntN(3) > 0 {
		account = code.owner
	}
	err := w.ConfirmEmailChange(w.t.Context(), account.id, code.text)
	owner := w.byEmail(code.email)
	switch {
	case !w.good(code, store.MailEmailChange) || code.owner != account:
		require.ErrorIs(w.t, err, store.ErrCode)
	case owner != nil && owner != account:
		requireExists(w.t, err, "email")
	default:
		require.NoError(w.t, err)
		account.email = code.email
		w.voidCodes(account)
		w.used[code.kind]++
	}
}

// change is what an administrator does.
func (w *lifeWalk) change(account *walkAccount) {
	ctx, email, password := w.t.Context(), w.email(), w.password()
	switch w.random.IntN(6) {
	case 0:
		require.NoError(w.t, w.SetPassword(ctx, account.id, password))
		account.password = password
		w.voidCodes(account)
	case 1:
		_, err := w.Change(ctx, account.id, store.Changes{Email: &email})
		switch owner := w.byEmail(email); {
		case owner == account: // nothing changes
			require.NoError(w.t, err)
		case owner != nil:
			requireExists(w.t, err, "email")
		default:
			require.NoError(w.t, err)
			account.email = email
			w.voidCodes(account)
		}
	case 2:
		require.NoError(w.t, w.Disable(ctx, account.id))
		account.disabled = true
	case 3, 4:
		require.NoError(w.t, w.Enable(ctx, account.id))
		account.disabled = false
	case 5:
		require.NoError(w.t, w.Remove(ctx, account.id))
		for i, a := range w.accounts {
			if a == account {
				w.accounts = append(w.accounts[:i:i], w.accounts[i+1:]...)
			}
		}
	}
}

func (w *lifeWalk) step() {
	ctx := w.t.Context()
	var account *walkAccount
	if len(w.accounts) > 0 {
		account = w.accounts[w.random.IntN(len(w.accounts))]
	}
	kind := w.random.IntN(12)
	if account == nil && kind > 6 {
		kind = w.random.IntN(3)
	}
	email := w.email()
	switch kind {
	case 0:
		name := w.name()
		code := walkCode{kind: store.MailRegistration, name: name, email: email, made: &walkRequest{}}
		w.start(walkMail{address: email, code: code}, w.StartRegistration(ctx, store.Registration{Name: name, Email: email}))
	case 1, 2:
		w.confirmRegistration()
	case 3:
		w.start(walkMail{address: email, code: walkCode{kind: store.MailPasswordReset}}, w.StartPasswordReset(ctx, email, ""))
	case 4:
		w.confirmReset()
	case 5:
		w.now = w.now.Add(time.Duration(w.random.IntN(40)) * time.Minute)
	case 6:
		w.deliver()
	case 7:
		err := w.StartEmailChange(ctx, account.id, store.EmailChange{Email: email, CurrentPassword: account.password})
		if account.disabled {
			require.ErrorIs(w.t, err, store.ErrDisabled)
			return
		}
		code := walkCode{kind: store.MailEmailChange, owner: account, email: email}
		w.start(walkMail{address: email, code: code, voided: new(bool)}, err)
	case 8:
		w.confirmEmail(account)
	case 9:
		password := w.password()
		err := w.changePassword(ctx, account.id, account.password, password)
		if account.disabled {
			require.ErrorIs(w.t, err, store.ErrDisabled)
			return
		}
		require.NoError(w.t, err)
		account.password = password
		w.voidCodes(account)
	case 10:
		_, err := w.Login(ctx, store.Login{Username: account.name, Password: account.password, Session: store.NewSession{ClientID: "app"}})
		if account.disabled {
			require.ErrorIs(w.t, err, store.ErrCredentials)
		} else {
			require.NoError(w.t, err)
		}
	case 11:
		w.change(account)
	}
	w.take() // what tells an owner
}

// TestLifeWalk checks many random lives against the model: no code works twice, none that
// was voided works, none works for another account or for another kind, and all expire on
// time. OAUTHSV_TEST_LIFE_WALKS=10000 makes it thorough.
func TestLifeWalk(t *testing.T) {
	walks := 150
	if text := os.Getenv(walksVariable); text != "" {
		var err error
		walks, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	used := make(map[store.MailKind]int)
	current := 0
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("in the walk with the seed %d", current)
		}
	})
	for seed := range walks {
		current = seed
		k := newLifeKit(t, store.Config{Throttle: store.Throttle{FreeFailures: -1}})
		w := &lifeWalk{t: t, random: rand.New(rand.NewPCG(uint64(seed), 0)), lifeKit: k, used: used}
		for range walkSteps {
			w.step()
		}
		for _, account := range w.accounts {
			found := w.find(t, account.id)
			require.Equal(t, []string{account.name, account.email}, []string{found.Name, found.Email})
			require.Equal(t, !account.disabled, w.passwordIs(t, account.name, account.password))
		}
	}
	t.Log("codes that worked:", used)
	for _, kind := range []store.MailKind{store.MailRegistration, store.MailPasswordReset, store.MailEmailChange} {
		require.Greater(t, used[kind], walks/4, "else the walks check refusals alone: %s", kind)
	}
}
