package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
)

// pages reads all pages of a listing, and returns how many accounts each has and the names.
func (k *kit) pages(t *testing.T, listing store.Listing) (sizes []int, names []string) {
	t.Helper()
	for {
		page, err := k.List(t.Context(), listing)
		require.NoError(t, err)
		sizes = append(sizes, len(page.Accounts))
		require.Less(t, len(sizes), 100, "it ends")
		for _, account := range page.Accounts {
			names = append(names, account.Name)
		}
		if page.Next == "" {
			return sizes, names
		}
		require.NotEmpty(t, page.Accounts, "a page with a next one is not empty")
		listing.After = page.Next
	}
}

// listingKit has ten accounts: even ones are in the group "even", and each has an e-mail that
// is in another order than the name.
func listingKit(t *testing.T) (k *kit, byID, byName []string) {
	t.Helper()
	k = newKit(t, store.Config{})
	for i := range 10 {
		wanted := store.NewAccount{Name: fmt.Sprintf("n%d", (i*7)%10), Email: fmt.Sprintf("M%d@example.org", 9-i), NoPassword: true}
		if i%2 == 0 {
			wanted.Groups = []string{"even"}
		}
		account, err := k.Create(t.Context(), wanted)
		require.NoError(t, err)
		byID = append(byID, account.Name)
	}
	byName = slices.Sorted(slices.Values(byID))
	return k, byID, byName
}

func TestListInPages(t *testing.T) {
	k, byID, byName := listingKit(t)
	byEmail := slices.Clone(byID)
	slices.Reverse(byEmail)
	var even []string
	for i := 0; i < len(byID); i += 2 {
		even = append(even, byID[i])
	}
	for name, test := range map[string]struct {
		listing store.Listing
		sizes   []int
		names   []string
	}{
		"all":                    {store.Listing{}, []int{10}, byID},
		"by id":                  {store.Listing{Limit: 4}, []int{4, 4, 2}, byID},
		"exactly the limit":      {store.Listing{Limit: 10}, []int{10}, byID},
		"exactly two pages":      {store.Listing{Limit: 5}, []int{5, 5}, byID},
		"one less":               {store.Listing{Limit: 9}, []int{9, 1}, byID},
		"one at a time":          {store.Listing{Limit: 1}, slices.Repeat([]int{1}, 10), byID},
		"by name":                {store.Listing{Prefix: "n", Limit: 6}, []int{6, 4}, byName},
		"one name":               {store.Listing{Prefix: "n3"}, []int{1}, []string{"n3"}},
		"upper case":             {store.Listing{Prefix: "N", Limit: 6}, []int{6, 4}, byName},
		"no such name":           {store.Listing{Prefix: "m"}, []int{0}, nil},
		"by e-mail":              {store.Listing{Prefix: "m4@EXAMPLE"}, []int{1}, []string{byID[5]}},
		"e-mail in upper case":   {store.Listing{Prefix: "M4@"}, []int{1}, []string{byID[5]}},
		"no such e-mail":         {store.Listing{Prefix: "m@"}, []int{0}, nil},
		"by group":               {store.Listing{Group: "even", Limit: 2}, []int{2, 2, 1}, even},
		"exactly a group":        {store.Listing{Group: "even", Limit: 5}, []int{5}, even},
		"group of another case":  {store.Listing{Group: "EVEN"}, []int{0}, nil},
		"beginning of a group":   {store.Listing{Group: "eve"}, []int{0}, nil},
		"no such group":          {store.Listing{Group: "no"}, []int{0}, nil},
		"the largest limit":      {store.Listing{Limit: 1000}, []int{10}, byID},
		"wild card in a prefix":  {store.Listing{Prefix: "."}, []int{0}, nil},
		"e-mail prefix is at":    {store.Listing{Prefix: "@"}, []int{0}, nil},
		"prefix with a long end": {store.Listing{Prefix: strings.Repeat("n", 5000)}, []int{0}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			sizes, names := k.pages(t, test.listing)
			assert.Equal(t, test.sizes, sizes)
			assert.Equal(t, test.names, names)
		})
	}
	page, err := k.List(t.Context(), store.Listing{Prefix: "n", Limit: 1})
	require.NoError(t, err)
	assert.NotContains(t, page.Next, byName[0], "what is next is opaque")
	assert.Equal(t, k.find(t, page.Accounts[0].ID), page.Accounts[0], "a page has whole accounts")
}

// TestListByEmailInPages checks e-mails that begin alike up to after the "@".
func TestListByEmailInPages(t *testing.T) {
	k := newKit(t, store.Config{})
	var want []string
	for i := range 7 {
		name := fmt.Sprint("n", 7-i)
		_, err := k.Create(t.Context(), store.NewAccount{Name: name, Email: fmt.Sprintf("Same@Host%d.example.org", i), NoPassword: true})
		require.NoError(t, err)
		want = append(want, name)
	}
	sizes, names := k.pages(t, store.Listing{Prefix: "Same@Host", Limit: 3})
	assert.Equal(t, []int{3, 3, 1}, sizes)
	assert.Equal(t, want, names)
}

func TestListNormalizesPrefix(t *testing.T) {
	k := newKit(t, store.Config{})
	k.create(t, "zoë")
	_, names := k.pages(t, store.Listing{Prefix: "ZOE\u0308"})
	assert.Equal(t, []string{"zoë"}, names)
}

func TestListDefaultLimit(t *testing.T) {
	k := newKit(t, store.Config{})
	for i := range 101 {
		require.NoError(t, k.backend.Create(t.Context(), &store.Account{ID: store.NewID(), Name: fmt.Sprint("n", i), EmailKey: fmt.Sprint("e", i)}))
	}
	sizes, names := k.pages(t, store.Listing{})
	assert.Equal(t, []int{100, 1}, sizes)
	assert.Len(t, names, 101)
	assert.Len(t, slices.Compact(slices.Sorted(slices.Values(names))), 101)
}

func TestListOfNobody(t *testing.T) {
	sizes, _ := newKit(t, store.Config{}).pages(t, store.Listing{})
	assert.Equal(t, []int{0}, sizes)
}

// TestListRefusesListing checks listings that cannot be meant. What a page gives as next is good
// only for the same kind of list.
func TestListRefusesListing(t *testing.T) {
	k, _, _ := listingKit(t)
	next := func(listing store.Listing) string {
		page, err := k.List(t.Context(), listing)
		require.NoError(t, err)
		require.NotEmpty(t, page.Next)
		return page.Next
	}
	id, name := next(store.Listing{Limit: 1}), next(store.Listing{Prefix: "n", Limit: 1})
	for what, test := range map[string]struct {
		listing store.Listing
		field   string
	}{
		"limit too high":        {store.Listing{Limit: 1001}, "limit"},
		"limit below zero":      {store.Listing{Limit: -1}, "limit"},
		"no base64":             {store.Listing{After: "?"}, "after"},
		"padded":                {store.Listing{After: id + "="}, "after"},
		"cut":                   {store.Listing{After: id[:len(id)-4]}, "after"},
		"longer":                {store.Listing{After: id + "AAAA"}, "after"},
		"of names":              {store.Listing{After: name}, "after"},
		"of names, for a group": {store.Listing{After: name, Group: "even"}, "after"},
		"prefix and group":      {store.Listing{Prefix: "n", Group: "even"}, "group"},
	} {
		t.Run(what, func(t *testing.T) {
			page, err := k.List(t.Context(), test.listing)
			require.ErrorIs(t, err, store.ErrInvalid)
			var invalid *store.InvalidError
			require.ErrorAs(t, err, &invalid)
			assert.Equal(t, test.field, invalid.Field)
			assert.Empty(t, page)
			if test.listing.After != "" {
				assert.NotContains(t, err.Error(), test.listing.After)
			}
		})
	}
	page, err := k.List(t.Context(), store.Listing{Prefix: "n", After: id})
	require.NoError(t, err, "an id may be the beginning of a name")
	assert.Len(t, page.Accounts, 10)
}

// TestListGoesOnAfterRemoval checks a page after an account that was removed meanwhile.
func TestListGoesOnAfterRemoval(t *testing.T) {
	k, byID, _ := listingKit(t)
	page, err := k.List(t.Context(), store.Listing{Limit: 3})
	require.NoError(t, err)
	require.NoError(t, k.Remove(t.Context(), page.Accounts[2].ID))
	_, names := k.pages(t, store.Listing{Limit: 3, After: page.Next})
	assert.Equal(t, byID[3:], names)
}

// TestListRefusesNewerRecords checks that a page with an account in a newer format is refused,
// as the account itself is.
func TestListRefusesNewerRecords(t *testing.T) {
	k := newKit(t, store.Config{})
	newer := k.create(t, "b")
	k.create(t, "c")
	require.NoError(t, k.backend.Update(t.Context(), newer.ID, func(a *store.Account) error {
		a.Format = store.RecordFormat + 1
		return nil
	}))
	for _, listing := range []store.Listing{{}, {Prefix: "b"}, {Prefix: "b@"}, {Limit: 1}} {
		page, err := k.List(t.Context(), listing)
		assert.ErrorIs(t, err, store.ErrUnavailable)
		assert.Empty(t, page)
	}
	page, err := k.List(t.Context(), store.Listing{Prefix: "c"})
	require.NoError(t, err)
	assert.Len(t, page.Accounts, 1)
}
