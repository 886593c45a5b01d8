package store_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
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
		"ada@example.org":                         "ada@example.org",
		"Ada.L+x@EXAMPLE.Org":                     "ada.l+x@example.org",
		"root@localhost":                          "root@localhost",
		"a@B\u00dccher.example":                   "a@xn--bcher-kva.example",
		"a@bu\u0308cher.example":                  "a@xn--bcher-kva.example",
		"\u00c9@example.org":                      "\u00e9@example.org",
		"E\u0301@example.org":                     "\u00e9@example.org",
		"\u0130\u0301@example.org":                "\u00ed@example.org", // in lower case its parts make another letter
		"a@example\u3002org":                      "a@example.org",
		`"a b"@example.org`:                       `"a b"@example.org`,
		`"a@b"@example.org`:                       `"a@b"@example.org`,
		strings.Repeat("x", 242) + "@example.org": strings.Repeat("x", 242) + "@example.org", // 254 bytes
	} {
		got, err := store.PrepareEmail(input)
		if assert.NoError(t, err, "%q", input) {
			assert.Equal(t, want, got, "%q", input)
		}
	}
	for _, input := range []string{
		"", "ada", "@example.org", "ada@", "ada@@example.org", "Ada <ada@example.org>", "<ada@example.org>",
		"ada@example.org (Ada)", "ada@example.org, b@example.org", " ada@example.org", "ada@example.org\n",
		"ada\u037e@example.org", "ada@[127.0.0.1]", "ada@ex ample.org", "ada@a..b", "ada@.example.org", "ada@example.org.", "a@b_c.org", "\xff@example.org",
		"a@b\u3002\u3002c", "a@\u3002example.org", "a@example.org\u3002", "a@\u00ad", // IDNA takes these for dots, and for nothing
		strings.Repeat("x", 243) + "@example.org",
		strings.Repeat("e\u0301", 82) + "@example.org",    // 258 bytes as it is stored, and 176 in NFC
		strings.Repeat("x", 238) + "@b\u00fccher.example", // 254 bytes, and 260 in ASCII
	} {
		_, err := store.PrepareEmail(input)
		assert.ErrorIs(t, err, store.ErrInvalid, "%q", input)
	}
}

// TestLongestValuesAreTaken checks the last length of a password, a hash, a phone number and a group
// that is taken, and the first that is refused.
func TestLongestValuesAreTaken(t *testing.T) {
	k := newKit(t, store.Config{Passwords: &plainHasher{}})
	fiveCharacters := "\U0001f600\U0001f9ea\U0001f338\U0001f680\U0001f4a7" // of 4 bytes each
	longest := strings.Repeat(fiveCharacters, 51) + "\U0001f600"
	require.Len(t, longest, 1024)
	for name, test := range map[string]struct {
		taken, refused store.NewAccount
		field          string
	}{
		"password": {store.NewAccount{Password: longest}, store.NewAccount{Password: longest + "x"}, "password"},
		"hash": {
			store.NewAccount{PasswordHash: "!" + strings.Repeat("~", 1023)},
			store.NewAccount{PasswordHash: strings.Repeat("~", 1025)}, "password",
		},
		"characters of a hash": {store.NewAccount{PasswordHash: "!~"}, store.NewAccount{PasswordHash: "! ~"}, "password"},
		"phone": {
			store.NewAccount{Phone: strings.Repeat("0", 32), NoPassword: true},
			store.NewAccount{Phone: strings.Repeat("0", 33), NoPassword: true}, "phone",
		},
		"digit of a phone": {
			store.NewAccount{Phone: "+(0)", NoPassword: true}, store.NewAccount{Phone: "+(-)", NoPassword: true}, "phone",
		},
		"characters of a group": {
			store.NewAccount{Groups: []string{"A-z.0_9:x"}, NoPassword: true}, store.NewAccount{Groups: []string{"a/b"}, NoPassword: true}, "group",
		},
		"group": {
			store.NewAccount{Groups: []string{strings.Repeat("g", 64)}, NoPassword: true},
			store.NewAccount{Groups: []string{strings.Repeat("g", 65)}, NoPassword: true}, "group",
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.taken.Name, test.taken.Email = store.NewID().Hex(), store.NewID().Hex()+"@example.org"
			account, err := k.Create(t.Context(), test.taken)
			require.NoError(t, err)
			if test.taken.Password != "" {
				_, err := k.VerifyPassword(t.Context(), account.Name, test.taken.Password)
				assert.NoError(t, err)
			}
			test.refused.Name, test.refused.Email = "x", "x@example.org"
			_, err = k.Create(t.Context(), test.refused)
			var invalid *store.InvalidError
			require.ErrorAs(t, err, &invalid)
			assert.Equal(t, test.field, invalid.Field)
		})
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
	for at := range 24 {
		for c := range 256 {
			text := []byte(id.Hex())
			text[at] = byte(c)
			parsed, err := store.ParseID(string(text))
			if strings.IndexByte("0123456789abcdef", byte(c)) < 0 {
				require.Error(t, err, string(text))
			} else {
				require.NoError(t, err)
				require.Equal(t, string(text), parsed.Hex())
			}
		}
	}
}

func TestSubjectThatIsNoIDIsNoAccount(t *testing.T) {
	id := store.NewID()
	ref, err := store.ParseSessionRef(id.Hex(), "sid", 7)
	require.NoError(t, err)
	assert.Equal(t, store.SessionRef{AccountID: id, SessionID: "sid", Generation: 7}, ref)
	_, err = store.ParseSessionRef("service@example.org", "sid", 7)
	assert.ErrorIs(t, err, store.ErrNotFound)
}

// BenchmarkParseID parses the subject of a token, as each request does.
func BenchmarkParseID(b *testing.B) {
	text := store.NewID().Hex()
	for b.Loop() {
		if _, err := store.ParseID(text); err != nil {
			b.Fatal(err)
		}
	}
}
