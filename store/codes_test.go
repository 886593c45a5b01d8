package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

func TestCodesAsPeopleTypeThem(t *testing.T) {
	for name, typed := range map[string]func(code string) string{
		"as mailed":         func(code string) string { return code },
		"lower case":        strings.ToLower,
		"without hyphens":   func(code string) string { return strings.ReplaceAll(code, "-", "") },
		"with spaces":       func(code string) string { return " \t" + strings.ReplaceAll(code, "-", " ") + "\r\n" },
		"letters that look": func(code string) string { return strings.NewReplacer("0", "O", "1", "l").Replace(code) },
		"with much space":   func(code string) string { return strings.ReplaceAll(code, "-", "") + strings.Repeat(" ", 104-26) },
		"capital L":         func(code string) string { return strings.ReplaceAll(code, "1", "L") },
		"small i":           func(code string) string { return strings.ReplaceAll(code, "1", "i") },
		"others that look":  func(code string) string { return strings.NewReplacer("0", "o", "1", "I").Replace(code) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newLifeKit(t, store.Config{})
			k.create(t, "ada")
			code := k.resetCode(t, "ada@example.org")
			for !strings.Contains(code, "0") || !strings.Contains(code, "1") { // it is random
				code = k.resetCode(t, "ada@example.org")
			}
			assert.NoError(t, k.reset(t, typed(code)))
		})
	}
}

func TestCodesThatAreNone(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	account := k.create(t, "ada")
	good := k.resetCode(t, "ada@example.org")
	for _, code := range []string{
		"", "-", "00000-00000-00000-00000-000000", good[1:], good + "0", good + good, "\xff" + good[1:], "Ü" + good[2:],
		strings.Repeat("-", 105-30) + good, strings.Repeat("-", 1<<20) + good, strings.Repeat("0", 1<<20), "code:" + good,
	} {
		_, err := k.confirm(t, code, "grace")
		assert.ErrorIs(t, err, store.ErrCode)
		assert.ErrorIs(t, k.reset(t, code), store.ErrCode)
		assert.ErrorIs(t, k.ConfirmEmailChange(t.Context(), account.ID, code), store.ErrCode)
	}
	assert.NoError(t, k.reset(t, good))
}

func TestCodesOfAnotherKindAreUnknown(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	account := k.create(t, "ada")
	registration := k.registrationCode(t, "grace", "grace@example.org")
	reset := k.resetCode(t, "ada@example.org")
	email := k.emailCode(t, account.ID, "new@example.org")
	for _, code := range []string{reset, email} {
		_, err := k.confirm(t, code, "alan")
		assert.ErrorIs(t, err, store.ErrCode)
	}
	for _, code := range []string{registration, email} {
		assert.ErrorIs(t, k.reset(t, code), store.ErrCode)
	}
	for _, code := range []string{registration, reset} {
		assert.ErrorIs(t, k.ConfirmEmailChange(t.Context(), account.ID, code), store.ErrCode)
	}
	_, err := k.confirm(t, registration, "")
	assert.NoError(t, err)
	assert.NoError(t, k.ConfirmEmailChange(t.Context(), account.ID, email))
}

func TestCodesExpire(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Minute, 24 * time.Hour} {
		t.Run(fmt.Sprint(ttl), func(t *testing.T) {
			k := newLifeKit(t, store.Config{Codes: store.Codes{TTL: ttl}})
			k.create(t, "ada")
			if ttl == 0 {
				ttl = time.Hour // the default
			}
			first, second := k.resetCode(t, "ada@example.org"), k.resetCode(t, "ada@example.org")
			k.now = k.now.Add(ttl - time.Millisecond)
			require.NoError(t, k.reset(t, first))
			first = k.resetCode(t, "ada@example.org")
			assert.ErrorIs(t, k.reset(t, second), store.ErrCode, "voided")
			k.now = k.now.Add(ttl)
			assert.ErrorIs(t, k.reset(t, first), store.ErrCode, "expired")
		})
	}
}

// TestUsedCodeLeavesNoRecord: names and addresses do not stay in the database for longer than needed.
func TestUsedCodeLeavesNoRecord(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, k *lifeKit, id store.ID) error{
		"reset": func(t *testing.T, k *lifeKit, _ store.ID) error { return k.reset(t, k.resetCode(t, "ada@example.org")) },
		"e-mail": func(t *testing.T, k *lifeKit, id store.ID) error {
			return k.ConfirmEmailChange(t.Context(), id, k.emailCode(t, id, "new@example.org"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			backend := &writtenBackend{Backend: memstore.New()}
			k := newLifeKit(t, store.Config{Backend: backend})
			require.NoError(t, use(t, k, k.create(t, "ada").ID))
			left := make(map[string]string)
			for _, written := range backend.written {
				key, value, _ := strings.Cut(written, " ")
				left[key] = value
			}
			for key, value := range left {
				if strings.HasPrefix(key, "code:") {
					assert.Empty(t, value)
				}
			}
		})
	}
}

// TestDatabaseHoldsNoCode checks that whoever reads the database cannot use a code.
func TestDatabaseHoldsNoCode(t *testing.T) {
	backend := &writtenBackend{Backend: memstore.New()}
	k := newLifeKit(t, store.Config{Backend: backend})
	code := k.registrationCode(t, "ada", "ada@example.org")
	letters := strings.ReplaceAll(code, "-", "")
	require.NotEmpty(t, backend.written)
	for _, written := range backend.written {
		assert.NotContains(t, strings.ToUpper(written), letters)
		assert.NotContains(t, written, code)
	}
}

// writtenBackend remembers the keys and values of records.
type writtenBackend struct {
	store.Backend
	written []string
}

func (b *writtenBackend) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	return b.Backend.UpdateRecord(ctx, key, now, func(r *store.Record) error {
		err := change(r)
		b.written = append(b.written, key+" "+string(r.Value))
		return err
	})
}

// TestMailsToOneAddress checks the limit, which is the same for a known and an unknown
// address, and which all kinds of codes share.
func TestMailsToOneAddress(t *testing.T) {
	for _, address := range []string{"ada@example.org", "nobody@example.org"} {
		t.Run(address, func(t *testing.T) {
			k := newKit(t, store.Config{Mailer: &outbox{}})
			k.create(t, "ada")
			grace := k.create(t, "grace")
			starts := []func() error{
				func() error { return k.StartPasswordReset(t.Context(), address, "192.0.2.1") },
				func() error {
					return k.StartRegistration(t.Context(), store.Registration{Name: "x", Email: strings.ToUpper(address), Address: "192.0.2.2"})
				},
				func() error {
					return k.StartEmailChange(t.Context(), grace.ID, store.EmailChange{Email: address, CurrentPassword: secret, Address: "192.0.2.3"})
				},
			}
			for _, start := range starts {
				require.NoError(t, start())
				k.now = k.now.Add(10 * time.Minute)
			}
			for _, start := range starts {
				var throttled *store.ThrottledError
				require.ErrorAs(t, start(), &throttled, "the fourth")
				assert.Equal(t, &store.ThrottledError{RetryAfter: 30 * time.Minute, Mails: true}, throttled)
			}
			assert.NoError(t, k.StartPasswordReset(t.Context(), "other@example.org", "192.0.2.1"), "another address")
			k.now = k.now.Add(30*time.Minute - time.Millisecond)
			require.ErrorIs(t, starts[0](), store.ErrThrottled)
			k.now = k.now.Add(time.Millisecond)
			assert.NoError(t, starts[0](), "the hour is over")
		})
	}
}

// TestMailsFromOneClient checks the limit of one client address.
func TestMailsFromOneClient(t *testing.T) {
	for name, test := range map[string]struct {
		limit     int
		allowed   int
		from      func(i int) string
		elsewhere string
	}{
		"the default":    {0, 20, func(int) string { return "192.0.2.1" }, "192.0.2.2"},
		"one network":    {5, 5, func(i int) string { return fmt.Sprintf("2001:db8::%x", i) }, "2001:db8:0:1::1"},
		"mapped":         {2, 2, func(i int) string { return []string{"192.0.2.1", "::ffff:192.0.2.1"}[i%2] }, "192.0.2.2"},
		"no limit":       {-1, 100, func(int) string { return "192.0.2.1" }, ""},
		"no address":     {2, 100, func(int) string { return "" }, ""},
		"not an address": {2, 100, func(int) string { return "@" }, ""},
		"one in an hour": {1, 1, func(int) string { return "192.0.2.1" }, "192.0.2.2"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, store.Config{Mailer: &outbox{}, Codes: store.Codes{MailsFrom: test.limit}})
			start := func(i int, from string) error {
				return k.StartPasswordReset(t.Context(), fmt.Sprintf("user%d@example.org", i), from)
			}
			for i := range test.allowed {
				require.NoError(t, start(i, test.from(i)))
			}
			if test.elsewhere == "" {
				return
			}
			var throttled *store.ThrottledError
			require.ErrorAs(t, start(1000, test.from(0)), &throttled)
			assert.Equal(t, &store.ThrottledError{RetryAfter: time.Hour, Mails: true}, throttled)
			for _, from := range []string{test.elsewhere, "", ""} {
				require.NoError(t, start(1000, from), "the start that was refused does not count for the address")
			}
			k.now = k.now.Add(time.Hour)
			assert.NoError(t, start(1000, test.from(0)))
		})
	}
}

// TestMailThatFindsNoRoom checks a Mailer that refuses. That does not show: mails to known
// addresses fill a queue for longer than look-ups of unknown ones.
func TestMailThatFindsNoRoom(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	account := k.create(t, "ada")
	code := k.resetCode(t, "ada@example.org")
	k.full = true
	for _, address := range []string{"ada@example.org", "nobody@example.org"} {
		assert.NoError(t, k.StartPasswordReset(t.Context(), address, ""))
		assert.NoError(t, k.StartRegistration(t.Context(), store.Registration{Name: "x", Email: address}))
	}
	assert.NoError(t, k.reset(t, code), "nothing waits for the mail that tells of it")
	_, err := k.Login(t.Context(), store.Login{Username: "ada", Password: newSecret, Session: store.NewSession{ClientID: "app"}})
	assert.NoError(t, err)
	assert.NoError(t, k.changePassword(t.Context(), account.ID, newSecret, secret))
}

// TestAccountSaysNothingOfItsCodes checks the JSON form of an account.
func TestAccountSaysNothingOfItsCodes(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	account := k.create(t, "ada")
	require.NoError(t, k.SetPassword(t.Context(), account.ID, newSecret))
	account = k.find(t, account.ID)
	require.NotZero(t, account.CredentialsVersion)
	text, err := json.Marshal(account)
	require.NoError(t, err)
	assert.NotContains(t, string(text), fmt.Sprint(account.CredentialsVersion))
}
