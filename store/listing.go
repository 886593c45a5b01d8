package store

import (
	"context"
	"encoding/base64"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// Listing asks for a page of accounts. The zero value asks for the first page of all of
// them, in order of their ids.
type Listing struct {
	// Prefix keeps to the accounts whose name begins with it, in order of their names, in
	// upper or lower case. If it holds an "@", it is the beginning of an e-mail.
	Prefix string
	// Group keeps to the accounts of a group, in order of their ids. It cannot be
	// combined with Prefix.
	Group string
	// After is Page.Next of the page before, or empty for the first page.
	After string
	// Limit is how many accounts the page holds at most. The default is 100, the maximum
	// 1,000.
	Limit int
}

// Page is a page of accounts.
type Page struct {
	Accounts []*Account
	// Next is what Listing.After must be for the next page. It is empty on the last page.
	Next string
}

const (
	defaultPage = 100
	maxPage     = 1000
)

// List returns a page of accounts. Each page is one bounded read, however many accounts
// there are. An account that is changed while pages are read may be missing, or be in two
// pages. Errors about the listing match [ErrInvalid].
func (a *Accounts) List(ctx context.Context, listing Listing) (Page, error) {
	list, err := listing.prepare()
	if err != nil {
		return Page{}, err
	}
	list.Limit++ // one more shows whether there is a next page
	found, err := a.backend.List(ctx, list)
	if err != nil {
		return Page{}, err
	}
	page := Page{Accounts: found}
	if len(found) == list.Limit {
		page.Accounts = found[:len(found)-1]
		page.Next = cursor(list.keyOf(page.Accounts[len(page.Accounts)-1]))
	}
	return page, nil
}

// AfterID returns the Listing.After of a list in order of ids that goes on after an account. The
// account need not exist any more.
func AfterID(id ID) string { return cursor(id.Hex()) }

// cursor returns the Listing.After of a list that goes on after a key.
func cursor(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }

func (l Listing) prepare() (List, error) {
	list := List{Limit: l.Limit}
	if l.Limit == 0 {
		list.Limit = defaultPage
	}
	after, err := base64.RawURLEncoding.DecodeString(l.After)
	if err != nil {
		return List{}, &InvalidError{"after", "must be what the page before gave as next"}
	}
	list.After = string(after)
	switch {
	case list.Limit < 1 || list.Limit > maxPage:
		return List{}, &InvalidError{"limit", "must be 1 to 1,000"}
	case l.Prefix != "" && l.Group != "":
		return List{}, &InvalidError{"group", "cannot be combined with a prefix"}
	case l.Group != "":
		list.By, list.Match = ListByGroup, l.Group
	case strings.Contains(l.Prefix, "@"):
		list.By, list.Match = ListByEmail, preparePrefix(l.Prefix)
	case l.Prefix != "":
		list.By, list.Match = ListByName, preparePrefix(l.Prefix)
	}
	if _, err := ParseID(list.After); err != nil && list.After != "" && (list.By == ListByID || list.By == ListByGroup) {
		return List{}, &InvalidError{"after", "must be what the page before gave as next"}
	}
	return list, nil
}

// preparePrefix makes the beginning of a name or an e-mail as PrepareName and PrepareEmail
// would, as far as a beginning allows that.
func preparePrefix(prefix string) string {
	return norm.NFC.String(strings.ToLower(norm.NFC.String(prefix)))
}

// keyOf returns the key of an account in the order of the list.
func (l *List) keyOf(account *Account) string {
	switch l.By {
	case ListByName:
		return account.Name
	case ListByEmail:
		return account.EmailKey
	}
	return account.ID.Hex()
}
