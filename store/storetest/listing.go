package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
)

// names lists accounts and returns their names.
func names(t *testing.T, backend store.Backend, list store.List) []string {
	t.Helper()
	found, err := backend.List(t.Context(), list)
	require.NoError(t, err)
	names := make([]string, 0, len(found))
	for _, account := range found {
		names = append(names, account.Name)
	}
	return names
}

func all(by store.ListKey, match string) store.List {
	return store.List{By: by, Match: match, Limit: 1000}
}

// keyOf returns the key of an account in a list, and whether the list has it. It says again,
// and simply, what store.List says.
func keyOf(account *store.Account, list store.List) (key string, listed bool) {
	switch list.By {
	case store.ListByName:
		return account.Name, strings.HasPrefix(account.Name, list.Match)
	case store.ListByEmail:
		return account.EmailKey, strings.HasPrefix(account.EmailKey, list.Match)
	case store.ListByGroup:
		return account.ID.Hex(), slices.Contains(account.Groups, list.Match)
	}
	return account.ID.Hex(), true
}

// expected returns the accounts that a list should have.
func expected(accounts []*store.Account, list store.List) []*store.Account {
	var found []*store.Account
	for _, account := range accounts {
		if key, listed := keyOf(account, list); listed && key > list.After {
			found = append(found, account)
		}
	}
	slices.SortFunc(found, func(a, b *store.Account) int {
		keyA, _ := keyOf(a, list)
		keyB, _ := keyOf(b, list)
		return strings.Compare(keyA, keyB)
	})
	return found[:min(len(found), list.Limit)]
}

// crowd creates accounts with the names, with random ids. Each is in some of the groups.
func crowd(t *testing.T, backend store.Backend, names []string, groups ...string) []*store.Account {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	accounts := make([]*store.Account, len(names))
	for i, name := range names {
		accounts[i] = newAccount(name)
		for at := range accounts[i].ID {
			accounts[i].ID[at] = byte(random.Uint32())
		}
		accounts[i].EmailKey = fmt.Sprint(random.Uint64(), name)
		for _, group := range groups {
			if random.IntN(2) == 0 {
				accounts[i].Groups = append(accounts[i].Groups, group)
			}
		}
		slices.Sort(accounts[i].Groups)
	}
	for _, err := range together(8, func(worker int) error {
		for i := worker; i < len(accounts); i += 8 {
			if err := backend.Create(context.WithoutCancel(t.Context()), accounts[i]); err != nil {
				return err
			}
		}
		return nil
	}) {
		require.NoError(t, err)
	}
	return accounts
}

func testListEmpty(t *testing.T, backend store.Backend) {
	for by := store.ListByID; by <= store.ListByGroup; by++ {
		assert.Empty(t, names(t, backend, all(by, "")))
		assert.Empty(t, names(t, backend, store.List{By: by, Match: "a", After: strings.Repeat("a", 24), Limit: 1}))
	}
	require.NoError(t, backend.Delete(t.Context(), create(t, backend, "ada").ID))
	for by := store.ListByID; by <= store.ListByGroup; by++ {
		assert.Empty(t, names(t, backend, all(by, "")), "after the last account is removed")
	}
}

// testListOrder checks that a list has whole accounts, by each key.
func testListOrder(t *testing.T, backend store.Backend) {
	accounts := crowd(t, backend, []string{"b", "ab", "a", "B", "ba", "é", "z", "10", "9", "a.b", "a-b"}, "editors")
	for by := store.ListByID; by <= store.ListByGroup; by++ {
		for _, limit := range []int{1, 3, 10, 11, 12, 1001} {
			list := store.List{By: by, Limit: limit}
			if by == store.ListByGroup {
				list.Match = "editors"
			}
			found, err := backend.List(t.Context(), list)
			require.NoError(t, err)
			assert.Equal(t, expected(accounts, list), found, "key %d, limit %d", by, limit)
		}
	}
}

// testListPrefix checks prefixes that lie beside each other, that mean something in regular
// expressions, or that end within a letter. The names have no letters from U+E000 to U+FFFF,
// which are in another order where texts are compared by their UTF-16 code units.
func testListPrefix(t *testing.T, backend store.Backend) {
	crowd(t, backend, []string{
		"ada", "ada.b", "adab", "adaz", "adb", "ad", "ae", "b", `a.*`, `a.\E`, `\Qa`, "a$", "^a", "(", "[a", "x_%y", "x_zy",
		"żółw", "żuk", "ż", "źle", "z", "é", "è", "\U0010FFFF", "\U0010FFFFa", "\U0001F600", "z\U0010FFFFb", "{", "nul", "nul\x7f",
	})
	for prefix, want := range map[string][]string{
		"ada":               {"ada", "ada.b", "adab", "adaz"},
		"ada.":              {"ada.b"},
		"adac":              {},
		"ad":                {"ad", "ada", "ada.b", "adab", "adaz", "adb"},
		"a.":                {`a.*`, `a.\E`},
		".":                 {},
		".*":                {},
		"a.*":               {`a.*`},
		`a.\E`:              {`a.\E`},
		`\E`:                {},
		`\Q`:                {`\Qa`},
		"^":                 {"^a"},
		"a$":                {"a$"},
		"(":                 {"("},
		"[":                 {"[a"},
		"x_":                {"x_%y", "x_zy"},
		"x_%":               {"x_%y"},
		"ż":                 {"ż", "żuk", "żółw"},
		"\xc5":              {"źle", "ż", "żuk", "żółw"},
		"\xc5\xbc\xc3":      {"żółw"},
		"\xc3":              {"è", "é"},
		"\xef\xbf":          {},
		"\xf0\x9f":          {"\U0001F600"},
		"\xf4":              {"\U0010FFFF", "\U0010FFFFa"},
		"\U0010FFFF":        {"\U0010FFFF", "\U0010FFFFa"},
		"\xff":              {},
		"\x80":              {},
		"a\xff":             {},
		"z\U0010FFFF":       {"z\U0010FFFFb"},
		"z":                 {"z", "z\U0010FFFFb"},
		"nul\x7f":           {"nul\x7f"},
		"a-name-none-has":   {},
		"ada.b and so on…é": {},
	} {
		assert.Equal(t, want, names(t, backend, all(store.ListByName, prefix)), "prefix %q", prefix)
	}
	assert.Len(t, names(t, backend, all(store.ListByName, "")), 31)
	assert.Equal(t, []string{"adab", "adaz"}, names(t, backend, store.List{By: store.ListByName, Match: "ada", After: "ada.b", Limit: 10}))
	assert.Equal(t, []string{"ada", "ada.b"}, names(t, backend, store.List{By: store.ListByName, Match: "ada", After: "a", Limit: 2}), "after a key before the list")
	assert.Empty(t, names(t, backend, store.List{By: store.ListByName, Match: "ada", After: "b", Limit: 2}), "after a key behind the list")
	assert.Equal(t, []string{"ada.b"}, names(t, backend, store.List{By: store.ListByName, Match: "ada", After: "ada", Limit: 1}))
}

// testListGroup checks groups whose names begin alike.
func testListGroup(t *testing.T, backend store.Backend) {
	for i, groups := range [][]string{{"a"}, {"a", "ab"}, {"ab"}, {}, {"", "a."}, {"a", "a\x00", "a\x00b"}, {"b"}, {"A"}, nil} {
		account := newAccount(fmt.Sprint(i))
		account.Groups = groups
		require.NoError(t, backend.Create(t.Context(), account))
	}
	for group, want := range map[string][]string{
		"a": {"0", "1", "5"}, "ab": {"1", "2"}, "b": {"6"}, "A": {"7"}, "a.": {"4"}, "": {"4"}, "a\x00": {"5"}, "a\x00b": {"5"},
		"none": {}, "\x00": {}, "a\x00\x00": {},
	} {
		assert.Equal(t, want, names(t, backend, all(store.ListByGroup, group)), "group %q", group)
	}
}

// testListPages checks that pages give each account exactly once while nothing changes.
func testListPages(t *testing.T, backend store.Backend) {
	const accounts = 350
	var all []string
	for i := range accounts {
		all = append(all, fmt.Sprint("account-", i))
	}
	made := crowd(t, backend, all, "editors", "editor", "admin")
	for by := store.ListByID; by <= store.ListByGroup; by++ {
		match := map[store.ListKey]string{store.ListByName: "account-", store.ListByGroup: "editors"}[by]
		want := expected(made, store.List{By: by, Match: match, Limit: accounts})
		for _, limit := range []int{1, 7, 100, len(want), accounts + 1} {
			list := store.List{By: by, Match: match, Limit: limit}
			if limit == 1 { // the whole list would take long over a network
				list.After, _ = keyOf(want[len(want)-6], list)
			}
			rest := expected(made, store.List{By: by, Match: match, After: list.After, Limit: accounts})
			for {
				page, err := backend.List(t.Context(), list)
				require.NoError(t, err)
				require.Equal(t, rest[:min(limit, len(rest))], page, "key %d, limit %d, after %q", by, limit, list.After)
				if rest = rest[len(page):]; len(page) < limit {
					break
				}
				list.After, _ = keyOf(page[len(page)-1], list)
			}
			assert.Empty(t, rest)
		}
	}
}

// testListAfterRemoved checks that a list goes on after an account that was removed.
func testListAfterRemoved(t *testing.T, backend store.Backend) {
	accounts := crowd(t, backend, []string{"a", "b", "c", "d", "e"})
	for _, account := range accounts {
		require.NoError(t, backend.Update(t.Context(), account.ID, func(a *store.Account) error {
			a.Groups = []string{"g"}
			return nil
		}))
		account.Groups = []string{"g"}
	}
	for _, list := range []store.List{{By: store.ListByID}, {By: store.ListByName}, {By: store.ListByEmail}, {By: store.ListByGroup, Match: "g"}} {
		list.Limit = 100
		ordered := expected(accounts, list)
		removed := ordered[len(ordered)/2]
		require.NoError(t, backend.Delete(t.Context(), removed.ID))
		list.After, _ = keyOf(removed, list)
		found, err := backend.List(t.Context(), list)
		require.NoError(t, err)
		assert.Equal(t, ordered[len(ordered)/2+1:], found, "key %d", list.By)
		require.NoError(t, backend.Create(t.Context(), removed))
	}
}

// testListFollowsChanges checks that an account moves in the lists when its keys change.
func testListFollowsChanges(t *testing.T, backend store.Backend) {
	ctx := t.Context()
	ada, grace := create(t, backend, "ada"), create(t, backend, "grace")
	is := func(by store.ListKey, match string, want ...string) {
		t.Helper()
		assert.Equal(t, append([]string{}, want...), names(t, backend, all(by, match)), "key %d, match %q", by, match)
	}
	regroup := func(id store.ID, groups ...string) {
		t.Helper()
		require.NoError(t, backend.Update(ctx, id, func(a *store.Account) error {
			a.Groups = groups
			return nil
		}))
	}
	regroup(ada.ID, "a", "b")
	regroup(grace.ID, "b")
	is(store.ListByGroup, "a", "ada")
	is(store.ListByGroup, "b", "ada", "grace")
	require.NoError(t, backend.Update(ctx, ada.ID, func(a *store.Account) error {
		a.Groups[0] = "c" // in place
		a.Groups[0], a.Groups[1] = a.Groups[1], a.Groups[0]
		return nil
	}))
	is(store.ListByGroup, "a")
	is(store.ListByGroup, "b", "ada", "grace")
	is(store.ListByGroup, "c", "ada")
	refused := context.Canceled
	require.ErrorIs(t, backend.Update(ctx, ada.ID, func(a *store.Account) error {
		a.Groups = nil
		return refused
	}), refused)
	require.NoError(t, backend.Update(ctx, ada.ID, func(a *store.Account) error {
		a.Groups[0] = "d"
		return store.ErrUnchanged
	}))
	is(store.ListByGroup, "b", "ada", "grace")
	is(store.ListByGroup, "d")
	regroup(ada.ID)
	is(store.ListByGroup, "b", "grace")
	is(store.ListByGroup, "c")

	require.NoError(t, backend.Update(ctx, ada.ID, func(a *store.Account) error {
		a.Name, a.EmailKey = "lovelace", "l@example.org"
		return nil
	}))
	is(store.ListByName, "ada")
	is(store.ListByName, "l", "lovelace")
	is(store.ListByName, "", "grace", "lovelace")
	is(store.ListByEmail, "ada@")
	is(store.ListByEmail, "", "grace", "lovelace")
	is(store.ListByID, "", "lovelace", "grace")

	require.NoError(t, backend.Delete(ctx, grace.ID))
	is(store.ListByGroup, "b")
	is(store.ListByName, "", "lovelace")
	is(store.ListByEmail, "", "lovelace")
	is(store.ListByID, "", "lovelace")
	regroup(ada.ID, "b")
	is(store.ListByGroup, "b", "lovelace")
}

// testListAgreesWithSort compares lists of random names with a slice that is sorted.
func testListAgreesWithSort(t *testing.T, backend store.Backend) {
	random := rand.New(rand.NewPCG(3, 4))
	letters := []rune("ab.-_é\u00ff\u0100żab\U0001F600")
	text := func(longest int) string {
		made := make([]rune, random.IntN(longest+1))
		for i := range made {
			made[i] = letters[random.IntN(len(letters))]
		}
		return string(made)
	}
	unique := make(map[string]bool)
	for len(unique) < 120 {
		if name := text(5); name != "" {
			unique[name] = true
		}
	}
	var texts []string
	for name := range unique {
		texts = append(texts, name)
	}
	slices.Sort(texts)
	accounts := crowd(t, backend, texts, "a", "ab", "b")
	for range 150 {
		list := store.List{By: store.ListKey(random.IntN(4)), Match: text(2), Limit: 1 + random.IntN(40)}
		some := accounts[random.IntN(len(accounts))]
		switch list.By {
		case store.ListByID:
			list.Match = ""
		case store.ListByEmail:
			list.Match = some.EmailKey[:random.IntN(4)]
		case store.ListByGroup:
			list.Match = []string{"a", "ab", "b", "c"}[random.IntN(4)]
		}
		if random.IntN(2) == 0 {
			list.After, _ = keyOf(some, list)
		}
		if size := len(list.Match); size > 1 && random.IntN(4) == 0 && list.By == store.ListByName && utf8.RuneStart(list.Match[0]) {
			list.Match = list.Match[:size-1]
		}
		found, err := backend.List(t.Context(), list)
		require.NoError(t, err)
		want := expected(accounts, list)
		require.Len(t, found, len(want), "%+q", list)
		for i := range want {
			require.Equal(t, want[i], found[i], "%+q", list)
		}
	}
}

func testListContext(t *testing.T, backend store.Backend) {
	create(t, backend, "ada")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for by := store.ListByID; by <= store.ListByGroup; by++ {
		_, err := backend.List(ctx, store.List{By: by, Limit: 10})
		assert.Error(t, err)
	}
}

func testListSnapshotsArePrivate(t *testing.T, backend store.Backend) {
	account := newAccount("ada")
	account.Groups = []string{"one"}
	require.NoError(t, backend.Create(t.Context(), account))
	found, err := backend.List(t.Context(), all(store.ListByGroup, "one"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.NoError(t, backend.Update(t.Context(), account.ID, func(a *store.Account) error {
		a.Groups[0] = "two"
		a.Disabled = true
		return nil
	}))
	assert.Equal(t, account, found[0], "a snapshot does not change")
	after, err := backend.List(t.Context(), all(store.ListByID, ""))
	require.NoError(t, err)
	require.Len(t, after, 1)
	assert.Equal(t, find(t, backend, account.ID), after[0])
}
