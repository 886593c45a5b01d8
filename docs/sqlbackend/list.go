package sqlbackend

import (
	"context"
	"fmt"

	"github.com/oauthsv/oauthsv/store"
)

// List is as [store.Backend] says. Each list is one statement. It starts at one place of an
// index and stops after list.Limit rows.
func (b *Backend) List(ctx context.Context, list store.List) ([]*store.Account, error) {
	query, args, err := listQuery(list)
	if err != nil {
		return nil, named("listing accounts", err)
	}
	rows, err := b.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, named("listing accounts", err)
	}
	defer func() { _ = rows.Close() }() // Err tells of every failure
	accounts := []*store.Account{}
	for rows.Next() {
		found, err := scan(rows)
		if err != nil {
			return nil, named("listing accounts", err)
		}
		accounts = append(accounts, found.Account)
	}
	return accounts, named("listing accounts", rows.Err())
}

func listQuery(list store.List) (query string, args []any, err error) {
	switch list.By {
	case store.ListByName:
		query, args = prefixQuery("name", list)
		return query, args, nil
	case store.ListByEmail:
		query, args = prefixQuery("email_key", list)
		return query, args, nil
	case store.ListByID, store.ListByGroup:
	default:
		return "", nil, fmt.Errorf("unknown key %d", list.By)
	}
	after := []byte{} // before every id
	if list.After != "" {
		id, err := store.ParseID(list.After)
		if err != nil {
			return "", nil, err
		}
		after = id[:]
	}
	if list.By == store.ListByID {
		return selectAccount + " FROM users WHERE account_id > ? ORDER BY account_id LIMIT ?", []any{after, list.Limit}, nil
	}
	return selectAccount + ` FROM users_in_groups g JOIN users ON users.account_id = g.account_id
		WHERE g.group_name = ? AND g.account_id > ? ORDER BY g.account_id LIMIT ?`, []any{list.Match, after, list.Limit}, nil
}

// prefixQuery asks for the rows whose column begins with list.Match. In the order of an
// index they stand side by side, from the prefix itself to before its successor. LIKE would
// not do: it ignores case, "_" and "%" are patterns in it, and then it reads every row.
func prefixQuery(column string, list store.List) (query string, args []any) {
	// SQLite starts at one lower bound only, so this is the higher of the two.
	query = selectAccount + " FROM users WHERE " + column
	if list.After >= list.Match && list.After != "" {
		query, args = query+" > ?", append(args, list.After)
	} else {
		query, args = query+" >= ?", append(args, list.Match)
	}
	if end := successor(list.Match); end != "" {
		query, args = query+" AND "+column+" < ?", append(args, end)
	}
	return query + " ORDER BY " + column + " LIMIT ?", append(args, list.Limit)
}

// successor returns the first text that comes after every text with the prefix, or an empty
// text if there is none.
func successor(prefix string) string {
	for end := []byte(prefix); len(end) > 0; end = end[:len(end)-1] {
		if end[len(end)-1] < 0xff {
			end[len(end)-1]++
			return string(end)
		}
	}
	return ""
}
