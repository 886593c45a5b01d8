package mongostore

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/oauthsv/oauthsv/store"
)

// List is as [store.Backend] says. It takes one round trip, by an index, unless the accounts
// take more than the 16 MB of one reply.
func (s *Store) List(ctx context.Context, list store.List) ([]*store.Account, error) {
	filter, order, err := query(list)
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	limit := min(list.Limit, 1<<30)
	// With a batch larger than the limit, the server leaves no cursor open.
	cursor, err := s.accounts.Find(ctx, filter, options.Find().SetSort(bson.D{{Key: order, Value: 1}}).SetLimit(int64(limit)).SetBatchSize(int32(limit+1)))
	if err != nil {
		return nil, unavailable("listing accounts", err)
	}
	defer cursor.Close(ctx)
	accounts := []*store.Account{}
	for cursor.Next(ctx) {
		found := new(account)
		if err := cursor.Decode(found); err != nil {
			return nil, unavailable(fmt.Sprintf("reading account %s", cursor.Current.Lookup("_id")), err)
		}
		found.Unknown = found.Rest
		accounts = append(accounts, &found.Account)
	}
	if err := cursor.Err(); err != nil {
		return nil, unavailable("listing accounts", err)
	}
	return accounts, nil
}

// query returns the filter of a list, and the member that orders it.
func query(list store.List) (filter bson.D, order string, err error) {
	switch list.By {
	case store.ListByName:
		return bson.D{{Key: "name", Value: textRange(list)}}, "name", nil
	case store.ListByEmail:
		return bson.D{{Key: "email_key", Value: textRange(list)}}, "email_key", nil
	case store.ListByGroup:
		filter = bson.D{{Key: "groups", Value: list.Match}}
	case store.ListByID:
		filter = bson.D{}
	default:
		return nil, "", fmt.Errorf("mongostore: there is no list by key %d", list.By)
	}
	if list.After != "" {
		id, err := store.ParseID(list.After)
		if err != nil {
			return nil, "", fmt.Errorf("mongostore: where the list goes on: %w", err)
		}
		filter = append(filter, bson.E{Key: "_id", Value: bson.D{{Key: "$gt", Value: id}}})
	}
	return filter, "_id", nil
}

// textRange returns the condition for texts that begin with list.Match and come after
// list.After. It is a range of an index, which not every server makes of a regular expression.
func textRange(list store.List) bson.D {
	condition := bson.D{{Key: "$gt", Value: list.After}}
	if list.Match == "" {
		return condition
	}
	letters, from, to := splitPrefix(list.Match)
	if !utf8.ValidString(letters) || from > to {
		return append(condition, bson.E{Key: "$lt", Value: ""}) // no text is like that
	}
	condition = append(condition, bson.E{Key: "$gte", Value: letters + string(from)})
	if end := successor(letters, to); end != "" {
		condition = append(condition, bson.E{Key: "$lt", Value: end})
	}
	return condition
}

// splitPrefix splits a prefix into its letters but the last, and the last one. If the prefix
// ends within a letter, that can be any letter of a range. Servers may refuse a text that is
// not of whole letters, so the range is one of letters. It is empty if no text has the prefix.
func splitPrefix(prefix string) (letters string, from, to rune) {
	at := len(prefix) - 1
	for at > 0 && !utf8.RuneStart(prefix[at]) {
		at--
	}
	letters, last := prefix[:at], prefix[at:]
	if utf8.FullRuneInString(last) {
		letter, size := utf8.DecodeRuneInString(last)
		if size < len(last) || letter == utf8.RuneError && size == 1 {
			return "", 1, 0
		}
		return letters, letter, letter
	}
	// The letters are in order of their encodings.
	search := func(found func(encoded string) bool) rune {
		return rune(sort.Search(utf8.MaxRune+1, func(r int) bool { return found(string(letterFrom(rune(r)))) }))
	}
	from = letterFrom(search(func(encoded string) bool { return encoded >= last }))
	to = search(func(encoded string) bool { return encoded > last && !strings.HasPrefix(encoded, last) }) - 1
	return letters, from, to
}

// letterFrom returns r, or the next number that a letter has: U+D800 to U+DFFF are none.
func letterFrom(r rune) rune {
	if 0xD800 <= r && r < 0xE000 {
		return 0xE000
	}
	return r
}

// successor returns the least text after all that begin with the letters and then the last one,
// or an empty text if there is none.
func successor(letters string, last rune) string {
	switch {
	case last < utf8.MaxRune:
		return letters + string(letterFrom(last+1))
	case letters == "":
		return ""
	}
	last, size := utf8.DecodeLastRuneInString(letters)
	return successor(letters[:len(letters)-size], last)
}
