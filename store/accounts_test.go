package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/password"
)

func TestPrepareName(t *testing.T) {
	for input, want := range map[string]string{
		"ada":                        "ada",
		"ADA":                        "ada",
		"a.b_c-9":                    "a.b_c-9",
		"\uff21\uff24\uff21":         "ada", // full width
		"e\u0301t\u00e9":             "\u00e9t\u00e9",
		"Stra\u00dfe":                "stra\u00dfe", // not folded to "ss"
		"STRA\u1e9eE":                "stra\u00dfe",
		"\u03a3\u03a9\u03a3":         "\u03c3\u03c9\u03c3", // no final sigma is made
		"\u03c3\u03c9\u03c2":         "\u03c3\u03c9\u03c2", // nor folded: another name
		"\u212a":                     "k",                  // the Kelvin sign
		strings.Repeat("x", 64):      strings.Repeat("x", 64),
		strings.Repeat("\u00e9", 64): strings.Repeat("\u00e9", 64),
	} {
		got, err := store.PrepareName(input)
		if assert.NoError(t, err, "%q", input) {
			assert.Equal(t, want, got, "%q", input)
			again, err := store.PrepareName(got)
			require.NoError(t, err)
			assert.Equal(t, got, again, "prepared once is prepared")
		}
	}
	for _, input := range []string{
		"", " ", "a b", "a@b", "a/b", "a\x00", "a\n", "\xff", "\u2603", "\u0130", "\ufb01", "a\u200db", "\u00adx",
		strings.Repeat("x", 65), strings.Repeat("x", 1<<20), "\u0663", "a\u0301\u0327\u0301",
	} {
		_, err := store.PrepareName(input)
		assert.ErrorIs(t, err, store.ErrInvalid, "%q", input)
	}
}

func TestPrepareEmail(t *testing.T) {
	for input, want := range map[string]string{
		"ada@example.org":        "ada@example.org",
		"Ada.L+x@EXAMPLE.Org":    "ada.l+x@example.org",
		"root@localhost":         "root@localhost",
		"a@B\u00dccher.example":  "a@xn--bcher-kva.example",
		"a@bu\u0308cher.example": "a@xn--bcher-kva.example",
		"\u00c9@example.org":     "\u00e9@example.org",
		"E\u0301@example.org":    "\u00e9@example.org",
		`"a b"@example.org`:      `"a b"@example.org`,
		`"a@b"@example.org`:      `"a@b"@example.org`,
	} {
		got, err := store.PrepareEmail(input)
		if assert.NoError(t, err, "%q", input) {
			assert.Equal(t, want, got, "%q", input)
		}
	}
	for _, input := range []string{
		"", "ada", "@example.org", "ada@", "ada@@example.org", "Ada <ada@example.org>", "<ada@example.org>",
		"ada@example.org (Ada)", "ada@example.org, b@example.org", " ada@example.org", "ada@example.org\n",
		"ada@[127.0.0.1]", "ada@ex ample.org", "ada@a..b", "ada@.example.org", "ada@example.org.", "a@b_c.org", "\xff@example.org",
		strings.Repeat("x", 243) + "@example.org",
	} {
		_, err := store.PrepareEmail(input)
		assert.ErrorIs(t, err, store.ErrInvalid, "%q", input)
	}
}

func FuzzPrepare(f *testing.F) {
	f.Add("Ada")
	f.Add("Ada@B\u00fccher.example")
	f.Fuzz(func(t *testing.T, input string) {
		if name, err := store.PrepareName(input); err == nil {
			require.NotContains(t, name, "@")
			again, err := store.PrepareName(name)
			require.NoError(t, err)
			require.Equal(t, name, again)
		}
		if key, err := store.PrepareEmail(input); err == nil {
			require.LessOrEqual(t, len(key), 254)
			again, err := store.PrepareEmail(key)
			require.NoError(t, err)
			require.Equal(t, key, again)
		}
	})
}

func TestParseID(t *testing.T) {
	id := store.NewID()
	parsed, err := store.ParseID(id.Hex())
	require.NoError(t, err)
	assert.Equal(t, id, parsed)
	for _, text := range []string{"", "x", strings.Repeat("A", 24), strings.Repeat("g", 24), id.Hex() + "0", id.Hex()[1:]} {
		_, err := store.ParseID(text)
		assert.Error(t, err, text)
	}
}

func TestCreate(t *testing.T) {
	k := newKit(t, store.Config{})
	k.now = epoch.Add(1234567 * time.Nanosecond).In(time.FixedZone("x", 3600))
	account, err := k.Create(t.Context(), store.NewAccount{
		Name: "Ada", Email: "Ada@EXAMPLE.org", Phone: "+49 30/123", Password: "secret", Groups: []string{"b", "a", "b"},
	})
	require.NoError(t, err)
	assert.Equal(t, "ada", account.Name)
	assert.Equal(t, "Ada@EXAMPLE.org", account.Email, "mail goes to the address as given")
	assert.Equal(t, []string{"a", "b"}, account.Groups)
	assert.Equal(t, epoch.Add(time.Millisecond), account.Created)
	assert.Equal(t, account, k.find(t, account.ID))
	assert.True(t, strings.HasPrefix(account.PasswordHash, "$argon2id$"))

	byName, err := k.FindByName(t.Context(), "ADA")
	require.NoError(t, err)
	assert.Equal(t, account, byName)
	byEmail, err := k.FindByEmail(t.Context(), "aDA@example.ORG")
	require.NoError(t, err)
	assert.Equal(t, account, byEmail)

	for field, what := range map[string]store.NewAccount{
		"name":  {Name: "aDA", Email: "other@example.org", NoPassword: true},
		"email": {Name: "other", Email: "ada@example.org", NoPassword: true},
	} {
		_, err := k.Create(t.Context(), what)
		var exists *store.ExistsError
		require.ErrorAs(t, err, &exists)
		assert.Equal(t, field, exists.Field)
	}
	for field, what := range map[string]store.NewAccount{
		"name":     {Name: "a b", Email: "x@example.org", NoPassword: true},
		"email":    {Name: "x", Email: "x", NoPassword: true},
		"phone":    {Name: "x", Email: "x@example.org", Phone: "call me", NoPassword: true},
		"password": {Name: "x", Email: "x@example.org", Password: strings.Repeat("x", 1025)},
		"group":    {Name: "x", Email: "x@example.org", Groups: []string{"a b"}, NoPassword: true},
	} {
		_, err := k.Create(t.Context(), what)
		var invalid *store.InvalidError
		require.ErrorAs(t, err, &invalid, field)
		assert.Equal(t, field, invalid.Field)
	}
}

// TestPasswordIsExplicit checks that nobody can make an account without a password by mistake.
func TestPasswordIsExplicit(t *testing.T) {
	k := newKit(t, store.Config{})
	ctx := t.Context()
	hash := k.create(t, "ada").PasswordHash
	for name, what := range map[string]store.NewAccount{
		"none":             {},
		"two":              {Password: "secret", NoPassword: true},
		"the other two":    {Password: "secret", PasswordHash: hash},
		"hash and without": {PasswordHash: hash, NoPassword: true},
		"no hash":          {PasswordHash: "two\nlines"},
		"long hash":        {PasswordHash: strings.Repeat("x", 1025)},
	} {
		what.Name, what.Email = "x", "x@example.org"
		_, err := k.Create(ctx, what)
		var invalid *store.InvalidError
		require.ErrorAs(t, err, &invalid, name)
		assert.Equal(t, "password", invalid.Field)
	}
	moved, err := k.Create(ctx, store.NewAccount{Name: "moved", Email: "moved@example.org", PasswordHash: hash})
	require.NoError(t, err)
	got, err := k.VerifyPassword(ctx, "moved", "secret")
	require.NoError(t, err)
	assert.Equal(t, moved.ID, got.ID)
}

func TestCreateNamesEachWrongField(t *testing.T) {
	_, err := newKit(t, store.Config{}).Create(t.Context(), store.NewAccount{Name: "a b", Email: "x", Phone: "call me", NoPassword: true})
	require.ErrorIs(t, err, store.ErrInvalid)
	for _, field := range []string{"name", "email", "phone"} {
		assert.ErrorContains(t, err, "invalid "+field)
	}
	assert.NotContains(t, err.Error(), "\n")
}

func TestAccountShowsNoSecrets(t *testing.T) {
	k := newKit(t, store.Config{})
	account := k.create(t, "ada")
	k.login(t, account)
	account = k.find(t, account.ID)
	text, err := json.Marshal(account)
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "account", account)
	for _, shown := range []string{string(text), log.String(), fmt.Sprint(account), fmt.Sprintf("%+v", account)} {
		assert.Contains(t, shown, account.ID.Hex())
		assert.NotContains(t, shown, "argon2id")
		assert.NotContains(t, shown, account.Sessions[0].ID)
	}
}

func TestVerifyPassword(t *testing.T) {
	k := newKit(t, store.Config{})
	ctx := t.Context()
	account := k.create(t, "ada")
	robot, err := k.Create(ctx, store.NewAccount{Name: "robot", Email: "robot@example.org", NoPassword: true})
	require.NoError(t, err)
	disabled := k.create(t, "grace")
	require.NoError(t, k.Disable(ctx, disabled.ID))
	pass := "Z\u0323\u0307 \U0001f511\t\x01" // its composition depends on the keyboard
	composed, err := k.Create(ctx, store.NewAccount{Name: "emoji", Email: "emoji@example.org", Password: pass})
	require.NoError(t, err)

	for _, login := range []struct{ username, password string }{{"ada", "secret"}, {"ADA", "secret"}, {"Ada@Example.org", "secret"}} {
		got, err := k.VerifyPassword(ctx, login.username, login.password)
		require.NoError(t, err)
		assert.Equal(t, account.ID, got.ID)
	}
	got, err := k.VerifyPassword(ctx, "emoji", "Z\u0307\u0323 \U0001f511\t\x01")
	require.NoError(t, err)
	assert.Equal(t, composed.ID, got.ID)

	for name, test := range map[string]struct {
		username, password string
		id                 store.ID
	}{
		"wrong password":      {"ada", "Secret", account.ID},
		"unknown name":        {"nobody", "secret", store.NilID},
		"unknown e-mail":      {"nobody@example.org", "secret", store.NilID},
		"impossible name":     {"a b", "secret", store.NilID},
		"impossible e-mail":   {"@", "secret", store.NilID},
		"empty password":      {"ada", "", store.NilID},
		"long password":       {"ada", strings.Repeat("x", 1025), store.NilID},
		"invalid UTF-8":       {"ada", "\xff", store.NilID},
		"no password set":     {"robot", "secret", robot.ID},
		"no password, either": {"robot", "", store.NilID},
		"disabled":            {"grace", "secret", disabled.ID},
		"disabled and wrong":  {"grace", "wrong", disabled.ID},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := k.VerifyPassword(ctx, test.username, test.password)
			var failed *store.CredentialsError
			require.ErrorAs(t, err, &failed)
			assert.ErrorIs(t, err, store.ErrCredentials)
			assert.Equal(t, test.id, failed.AccountID)
			assert.Equal(t, store.ErrCredentials.Error(), err.Error(), "one and the same error")
		})
	}
}

// countingHasher counts the work for passwords, including new hashes.
type countingHasher struct {
	*password.Hasher
	verified int
}

func (h *countingHasher) Verify(ctx context.Context, pass string, stored func() (string, error)) (bool, bool, error) {
	h.verified++
	return h.Hasher.Verify(ctx, pass, stored)
}

func TestEveryFailedLoginCostsOneHash(t *testing.T) {
	hasher, err := password.New(password.Config{Memory: 8, Iterations: 1})
	require.NoError(t, err)
	counting := &countingHasher{Hasher: hasher}
	k := newKit(t, store.Config{Passwords: counting})
	k.create(t, "ada")
	disabled := k.create(t, "grace")
	require.NoError(t, k.Disable(t.Context(), disabled.ID))
	broken := k.create(t, "broken")
	for _, username := range []string{"ada", "nobody", "nobody@example.org", "a b", "grace"} {
		counting.verified = 0
		_, err := k.VerifyPassword(t.Context(), username, "wrong")
		require.ErrorIs(t, err, store.ErrCredentials)
		assert.Equal(t, 1, counting.verified, username)
	}
	for _, hash := range []string{"rubbish", "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"} {
		require.NoError(t, k.backend.Update(t.Context(), broken.ID, func(a *store.Account) error {
			a.PasswordHash = hash
			return nil
		}))
		counting.verified = 0
		_, err := k.VerifyPassword(t.Context(), "broken", "wrong")
		var failed *store.CredentialsError
		require.ErrorAs(t, err, &failed)
		assert.Error(t, failed.Err, "the log is told")
		assert.Equal(t, 1, counting.verified)
	}
}

// lookedUpBackend counts look-ups by name and e-mail.
type lookedUpBackend struct {
	store.Backend
	looks int
}

func (b *lookedUpBackend) FindByName(ctx context.Context, name string) (*store.Account, error) {
	b.looks++
	return b.Backend.FindByName(ctx, name)
}

func (b *lookedUpBackend) FindByEmail(ctx context.Context, emailKey string) (*store.Account, error) {
	b.looks++
	return b.Backend.FindByEmail(ctx, emailKey)
}

// TestRefusedWithoutHashRefusedWithoutLookUp checks refusals for which no hash is computed.
// They must not take longer for a name that exists, so nothing may be looked up either.
func TestRefusedWithoutHashRefusedWithoutLookUp(t *testing.T) {
	backend := &lookedUpBackend{Backend: memstore.New()}
	k := newKit(t, store.Config{Backend: backend})
	k.create(t, "ada")
	for name, pass := range map[string]string{"not UTF-8": "\xff", "too long": strings.Repeat("x", 1025), "empty": ""} {
		for _, username := range []string{"ada", "ada@example.org", "nobody"} {
			_, err := k.VerifyPassword(t.Context(), username, pass)
			require.ErrorIs(t, err, store.ErrCredentials, name)
		}
	}
	busy := newKit(t, store.Config{Backend: backend, Passwords: overloaded{}})
	_, err := busy.VerifyPassword(t.Context(), "ada", "secret")
	require.ErrorIs(t, err, store.ErrUnavailable)
	assert.Zero(t, backend.looks)
}

// TestOverloadedHasherIsUnavailable checks that each call that needs a hash returns the same error.
func TestOverloadedHasherIsUnavailable(t *testing.T) {
	backend := memstore.New()
	account := newKit(t, store.Config{Backend: backend}).create(t, "ada")
	k := newKit(t, store.Config{Backend: backend, Passwords: overloaded{}})
	ctx := t.Context()
	for name, err := range map[string]error{
		"known name":      second(k.VerifyPassword(ctx, "ada", "secret")),
		"unknown name":    second(k.VerifyPassword(ctx, "nobody", "secret")),
		"create":          second(k.Create(ctx, store.NewAccount{Name: "x", Email: "x@example.org", Password: "secret"})),
		"set password":    k.SetPassword(ctx, account.ID, "other"),
		"change password": k.ChangePassword(ctx, account.ID, "secret", "other"),
	} {
		assert.ErrorIs(t, err, store.ErrUnavailable, name)
		assert.ErrorIs(t, err, password.ErrOverloaded, name)
	}
}

type overloaded struct{}

func (overloaded) Hash(context.Context, string) (string, error) { return "", password.ErrOverloaded }
func (overloaded) Verify(context.Context, string, func() (string, error)) (bool, bool, error) {
	return false, false, password.ErrOverloaded
}

// TestHasherMayRefuseAPassword uses a hasher that takes at most 72 bytes, like bcrypt.
func TestHasherMayRefuseAPassword(t *testing.T) {
	k := newKit(t, store.Config{Passwords: shortHasher{}})
	ctx := t.Context()
	account := k.create(t, "ada")
	assert.ErrorIs(t, k.SetPassword(ctx, account.ID, strings.Repeat("x", 73)), store.ErrInvalid)
	_, err := k.Create(ctx, store.NewAccount{Name: "x", Email: "x@example.org", Password: strings.Repeat("x", 73)})
	assert.ErrorIs(t, err, store.ErrInvalid)
	assert.NotErrorIs(t, err, store.ErrUnavailable)
}

type shortHasher struct{}

func (shortHasher) Hash(_ context.Context, pass string) (string, error) {
	if len(pass) > 72 {
		return "", &store.InvalidError{Field: "password", Reason: "must be at most 72 bytes"}
	}
	return "hash of " + pass, nil
}

func (shortHasher) Verify(_ context.Context, pass string, stored func() (string, error)) (bool, bool, error) {
	hash, err := stored()
	return hash == "hash of "+pass, false, err
}

// TestRightPasswordStaysRight checks many logins at once after the costs were raised. Each
// login finds that another one has replaced the hash that it verified.
func TestRightPasswordStaysRight(t *testing.T) {
	backend := memstore.New()
	account := newKit(t, store.Config{Backend: backend}).create(t, "ada")
	stronger, err := password.New(password.Config{Memory: 16, Iterations: 2})
	require.NoError(t, err)
	k := newKit(t, store.Config{Backend: backend, Passwords: stronger})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			_, err := k.Login(t.Context(), store.Login{Username: "ada", Password: "secret", Session: store.NewSession{ClientID: "app"}})
			assert.NoError(t, err)
		})
	}
	all.Wait()
	assert.Len(t, k.find(t, account.ID).Sessions, 8)
}

// replacingHasher does something after it has verified a hash, before the caller uses the
// result.
type replacingHasher struct {
	store.PasswordHasher
	meanwhile func()
}

func (h *replacingHasher) Verify(ctx context.Context, pass string, stored func() (string, error)) (bool, bool, error) {
	match, outdated, err := h.PasswordHasher.Verify(ctx, pass, stored)
	h.meanwhile()
	return match, outdated, err
}

// TestLoginLooksAgain checks an account that gets another hash just after a login has
// verified the old one. The new hash decides.
func TestLoginLooksAgain(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(*kit, store.ID) error
		want      error
	}{
		"the same password, hashed anew": {func(k *kit, id store.ID) error { return k.SetPassword(context.Background(), id, "secret") }, nil},
		"another password":               {func(k *kit, id store.ID) error { return k.SetPassword(context.Background(), id, "other") }, store.ErrCredentials},
		"disabled":                       {func(k *kit, id store.ID) error { return k.Disable(context.Background(), id) }, store.ErrCredentials},
		"removed":                        {func(k *kit, id store.ID) error { return k.Remove(context.Background(), id) }, store.ErrCredentials},
	} {
		for _, outdated := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", outdated ", outdated), func(t *testing.T) {
				old := newKit(t, store.Config{})
				account := old.create(t, "ada")
				costs := password.Config{Memory: 8, Iterations: 1}
				if outdated {
					costs.Iterations = 2
				}
				hasher, err := password.New(costs)
				require.NoError(t, err)
				once := false
				k := newKit(t, store.Config{Backend: old.backend, Passwords: &replacingHasher{hasher, func() {
					if !once {
						once = true
						assert.NoError(t, test.meanwhile(old, account.ID))
					}
				}}})
				approved := 0
				_, err = k.Login(t.Context(), store.Login{
					Username: "ada", Password: "secret", Session: store.NewSession{ClientID: "app"},
					Approve: func(context.Context, *store.Account) error { approved++; return nil },
				})
				assert.ErrorIs(t, err, test.want)
				if test.want == nil {
					assert.Equal(t, 1, approved, "asked once")
					assert.Len(t, k.find(t, account.ID).Sessions, 1)
				}
			})
		}
	}
}

// TestChangePasswordLooksAgain checks the same for ChangePassword.
func TestChangePasswordLooksAgain(t *testing.T) {
	old := newKit(t, store.Config{})
	account := old.create(t, "ada")
	hasher, err := password.New(password.Config{Memory: 8, Iterations: 1})
	require.NoError(t, err)
	once := false
	k := newKit(t, store.Config{Backend: old.backend, Passwords: &replacingHasher{hasher, func() {
		if !once {
			once = true
			assert.NoError(t, old.SetPassword(context.Background(), account.ID, "secret"))
		}
	}}})
	require.NoError(t, k.ChangePassword(t.Context(), account.ID, "secret", "new"))
	_, err = k.VerifyPassword(t.Context(), "ada", "new")
	assert.NoError(t, err)
}

func TestLoginUpgradesHash(t *testing.T) {
	backend := memstore.New()
	old := newKit(t, store.Config{Backend: backend})
	account := old.create(t, "ada")
	stronger, err := password.New(password.Config{Memory: 16, Iterations: 2})
	require.NoError(t, err)
	k := newKit(t, store.Config{Backend: backend, Passwords: stronger})

	_, err = k.VerifyPassword(t.Context(), "ada", "wrong")
	require.ErrorIs(t, err, store.ErrCredentials)
	assert.Equal(t, account.PasswordHash, k.find(t, account.ID).PasswordHash)
	proven, err := k.VerifyPassword(t.Context(), "ada", "secret")
	require.NoError(t, err)
	stored := k.find(t, account.ID)
	assert.Contains(t, stored.PasswordHash, "m=16,t=2,p=1")
	assert.Equal(t, stored.PasswordHash, proven.PasswordHash)
	_, err = k.StartSession(t.Context(), proven, store.NewSession{ClientID: "app"})
	require.NoError(t, err)
	_, err = k.VerifyPassword(t.Context(), "ada", "secret")
	require.NoError(t, err)
	assert.Equal(t, stored.PasswordHash, k.find(t, account.ID).PasswordHash)
}

func TestStartSessionNeedsFreshProof(t *testing.T) {
	k := newKit(t, store.Config{})
	ctx := t.Context()
	account := k.create(t, "ada")
	start := func(proof *store.Account) error {
		_, err := k.StartSession(ctx, proof, store.NewSession{ClientID: "app"})
		return err
	}
	require.NoError(t, start(account))
	require.NoError(t, k.SetPassword(ctx, account.ID, "secret")) // the same password with a new hash
	assert.ErrorIs(t, start(account), store.ErrCredentials)
	account = k.find(t, account.ID)
	require.NoError(t, k.Disable(ctx, account.ID))
	assert.ErrorIs(t, start(account), store.ErrDisabled)
	require.NoError(t, k.Enable(ctx, account.ID))
	assert.NoError(t, start(account))
	require.NoError(t, k.Remove(ctx, account.ID))
	assert.ErrorIs(t, start(account), store.ErrNotFound)
}

func TestChangesEndSessions(t *testing.T) {
	for name, change := range map[string]func(*kit, store.ID) error{
		"SetPassword":    func(k *kit, id store.ID) error { return k.SetPassword(context.Background(), id, "new") },
		"ChangePassword": func(k *kit, id store.ID) error { return k.ChangePassword(context.Background(), id, "secret", "new") },
		"Disable":        func(k *kit, id store.ID) error { return k.Disable(context.Background(), id) },
		"Remove":         func(k *kit, id store.ID) error { return k.Remove(context.Background(), id) },
		"EndSessions":    func(k *kit, id store.ID) error { return k.EndSessions(context.Background(), id, "") },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, store.Config{})
			account := k.create(t, "ada")
			first, second := k.login(t, account), k.login(t, account)
			require.NoError(t, change(k, account.ID))
			for _, ref := range []store.SessionRef{first, second} {
				_, err := k.FindBySession(t.Context(), ref)
				assert.Error(t, err)
				_, err = k.RefreshSession(t.Context(), ref, store.Lifetimes{})
				assert.Error(t, err)
			}
			if name != "Remove" {
				_ = k.Enable(t.Context(), account.ID)
				_, err := k.FindBySession(t.Context(), first)
				assert.ErrorIs(t, err, store.ErrSessionEnded, "for good")
			}
		})
	}
}

func TestChangePassword(t *testing.T) {
	k := newKit(t, store.Config{})
	ctx := t.Context()
	account := k.create(t, "ada")
	ref := k.login(t, account)
	assert.ErrorIs(t, k.ChangePassword(ctx, account.ID, "wrong", "new"), store.ErrCredentials)
	assert.ErrorIs(t, k.ChangePassword(ctx, account.ID, "secret", ""), store.ErrInvalid)
	assert.ErrorIs(t, k.ChangePassword(ctx, store.NewID(), "secret", "new"), store.ErrNotFound)
	_, err := k.FindBySession(ctx, ref)
	require.NoError(t, err, "a refused change ends nothing")
	require.NoError(t, k.ChangePassword(ctx, account.ID, "secret", "new"))
	_, err = k.VerifyPassword(ctx, "ada", "secret")
	assert.ErrorIs(t, err, store.ErrCredentials)
	_, err = k.VerifyPassword(ctx, "ada", "new")
	assert.NoError(t, err)
}

func TestSessions(t *testing.T) {
	k := newKit(t, store.Config{})
	ctx := t.Context()
	account, other := k.create(t, "ada"), k.create(t, "grace")
	refs := []store.SessionRef{k.login(t, account), k.login(t, account), k.login(t, account)}
	kept := k.login(t, other)
	ids := func() (ids []string) {
		sessions, err := k.Sessions(ctx, account.ID)
		require.NoError(t, err)
		for _, session := range sessions {
			ids = append(ids, session.ID)
		}
		return ids
	}
	assert.Equal(t, []string{refs[0].SessionID, refs[1].SessionID, refs[2].SessionID}, ids())
	require.NoError(t, k.EndSession(ctx, account.ID, refs[0].SessionID))
	assert.ErrorIs(t, k.EndSession(ctx, account.ID, refs[0].SessionID), store.ErrSessionEnded)
	assert.ErrorIs(t, k.EndSession(ctx, account.ID, kept.SessionID), store.ErrSessionEnded)
	require.NoError(t, k.EndSessions(ctx, account.ID, refs[2].SessionID))
	assert.Equal(t, []string{refs[2].SessionID}, ids())
	_, err := k.FindBySession(ctx, kept)
	assert.NoError(t, err)
	for _, id := range []string{refs[0].SessionID, kept.SessionID} {
		assert.Len(t, id, 22, "128 bits in base64url")
	}
}

func TestSessionBound(t *testing.T) {
	k := newKit(t, store.Config{MaxSessions: 3, RefreshTTL: time.Hour})
	account := k.create(t, "ada")
	start := func() *store.SessionState {
		t.Helper()
		k.now = k.now.Add(time.Minute)
		state, err := k.StartSession(t.Context(), k.find(t, account.ID), store.NewSession{ClientID: "app"})
		require.NoError(t, err)
		return state
	}
	first, second, third := start(), start(), start()
	k.now = k.now.Add(time.Minute)
	_, err := k.RefreshSession(t.Context(), store.SessionRef{AccountID: account.ID, SessionID: first.Session.ID, Generation: 1}, store.Lifetimes{})
	require.NoError(t, err)

	fourth := start()
	require.Len(t, fourth.Evicted, 1)
	assert.Equal(t, second.Session.ID, fourth.Evicted[0].ID, "the least recently refreshed")
	assert.Len(t, k.find(t, account.ID).Sessions, 3)

	k.now = third.Session.Expires // the third has expired, the first was refreshed
	k.now = k.now.Add(-time.Minute)
	fifth := start()
	assert.Empty(t, fifth.Evicted, "expired ones go first, without a word")
	assert.Len(t, k.find(t, account.ID).Sessions, 3)
}

func TestGroups(t *testing.T) {
	k := newKit(t, store.Config{})
	ctx := t.Context()
	account := k.create(t, "ada")
	k.now = k.now.Add(time.Minute)
	for _, group := range []string{"b", "a", "b", "c"} {
		require.NoError(t, k.AddToGroup(ctx, account.ID, group))
	}
	assert.Equal(t, []string{"a", "b", "c"}, k.find(t, account.ID).Groups)
	assert.Equal(t, k.now, k.find(t, account.ID).Modified)
	require.NoError(t, k.RemoveFromGroup(ctx, account.ID, "b"))
	require.NoError(t, k.RemoveFromGroup(ctx, account.ID, "b"))
	found := k.find(t, account.ID)
	assert.True(t, found.InGroup("a"))
	assert.False(t, found.InGroup("b"))
	assert.False(t, found.InGroup("A"))
	for _, group := range []string{"", "a b", "\u00e9", strings.Repeat("x", 65), "a\n"} {
		assert.ErrorIs(t, k.AddToGroup(ctx, account.ID, group), store.ErrInvalid, "%q", group)
	}
	assert.ErrorIs(t, k.AddToGroup(ctx, store.NewID(), "a"), store.ErrNotFound)
}

func TestEnsureRoot(t *testing.T) {
	k := newKit(t, store.Config{})
	ctx := t.Context()
	pass, created, err := k.EnsureRoot(ctx, "root", "root@localhost", "")
	require.NoError(t, err)
	require.True(t, created)
	assert.GreaterOrEqual(t, len(pass), 26)
	account, err := k.VerifyPassword(ctx, "root", pass)
	require.NoError(t, err)
	assert.True(t, account.InGroup(store.AdminGroup))

	_, created, err = k.EnsureRoot(ctx, "ROOT", "other@localhost", "other")
	require.NoError(t, err)
	assert.False(t, created)
	assert.Equal(t, account, k.find(t, account.ID), "never overwritten")

	_, _, err = k.EnsureRoot(ctx, "other", "root@localhost", "other")
	assert.ErrorIs(t, err, store.ErrExists)
	_, _, err = k.EnsureRoot(ctx, "a b", "x@localhost", "other")
	assert.ErrorIs(t, err, store.ErrInvalid)
}

func TestConfigurationErrorsNameEachField(t *testing.T) {
	_, err := store.NewAccounts(store.Config{
		RefreshTTL: time.Millisecond, SessionTTL: time.Millisecond, ReuseInterval: time.Hour, MaxSessions: -1,
	})
	for _, field := range []string{"Backend", "RefreshTTL", "SessionTTL", "ReuseInterval", "MaxSessions"} {
		assert.ErrorContains(t, err, field)
	}
}
