package sqlbackend

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"github.com/oauthsv/oauthsv/store"
)

// columns are the columns of the table users that belong to the kit. The team's other
// columns, such as id, appear in no statement, so that the kit never changes them.
//
// A column has the name that the bson tag of [store.Account] gives the member. Exceptions
// are account_id, other and version.
var columns = []string{
	"account_id", "name", "email", "email_key", "phone", "password_hash", "credentials_version",
	"groups", "disabled", "created", "modified", "last_action", "sessions", "other", "format", "version",
}

var (
	selectAccount = "SELECT users." + strings.Join(columns, ", users.")
	insertAccount = "INSERT INTO users (" + strings.Join(columns, ", ") + ") VALUES (?" + strings.Repeat(", ?", len(columns)-1) + ")"
	updateAccount = "UPDATE users SET " + strings.Join(columns, " = ?, ") + " = ? WHERE account_id = ? AND version = ?"
)

// row is a row of the table users, as far as it belongs to the kit.
type row struct {
	*store.Account
	version int64
}

// values returns the values of columns, in their order.
func (r row) values() ([]any, error) {
	groups, err := json.Marshal(r.Groups)
	if err != nil {
		return nil, err
	}
	sessions, other, err := encode(r.Account)
	if err != nil {
		return nil, err
	}
	return []any{
		r.ID[:], r.Name, r.Email, r.EmailKey, r.Phone, r.PasswordHash, r.CredentialsVersion,
		string(groups), r.Disabled, r.Created.UnixMilli(), r.Modified.UnixMilli(), r.LastAction.UnixMilli(),
		sessions, other, r.Format, r.version,
	}, nil
}

// encode returns what the columns sessions and other hold, each a BSON document. (The JSON
// form of an account leaves out its secrets.)
//
// The column other holds each member without a column. Now these are the unknown members.
// If a newer version of the kit adds a member to store.Account, that one is kept there too.
func encode(account *store.Account) (sessions, other []byte, err error) {
	document, err := bson.Marshal(account)
	if err != nil {
		return nil, nil, err
	}
	members, err := bson.Raw(document).Elements()
	if err != nil {
		return nil, nil, err
	}
	rest := bson.D{}
	for _, member := range members {
		switch key := member.Key(); {
		case key == "sessions":
			if sessions, err = bson.Marshal(bson.D{{Key: key, Value: member.Value()}}); err != nil {
				return nil, nil, err
			}
		case key != "_id" && !isMember(key):
			rest = append(rest, bson.E{Key: key, Value: member.Value()})
		}
	}
	other, err = bson.Marshal(rest)
	return sessions, other, err
}

// isMember reports whether a member of store.Account has a column of its own.
func isMember(key string) bool {
	return slices.Contains(columns, key) && key != "account_id" && key != "other" && key != "version"
}

// scan reads the columns of selectAccount into new memory.
func scan(from interface{ Scan(...any) error }) (row, error) {
	r := row{Account: new(store.Account)}
	var id, groups, sessions, other []byte
	var created, modified, lastAction int64
	err := from.Scan(
		&id, &r.Name, &r.Email, &r.EmailKey, &r.Phone, &r.PasswordHash, &r.CredentialsVersion,
		&groups, &r.Disabled, &created, &modified, &lastAction, &sessions, &other, &r.Format, &r.version)
	if err != nil {
		return row{}, err
	}
	if copy(r.ID[:], id) != len(r.ID) {
		return row{}, fmt.Errorf("an account_id has %d bytes", len(id))
	}
	r.Created, r.Modified, r.LastAction = timeOf(created), timeOf(modified), timeOf(lastAction)
	r.Groups, r.Sessions = []string{}, []store.Session{}
	if err := json.Unmarshal(groups, &r.Groups); err != nil {
		return row{}, fmt.Errorf("account %s: groups: %w", r.ID.Hex(), err)
	}
	for _, document := range [][]byte{sessions, other} {
		if len(document) == 0 {
			continue // a row of New that the kit has not written since
		}
		// Unmarshal sets the members of the document, and leaves the others as they are.
		if err := bson.Unmarshal(document, r.Account); err != nil {
			return row{}, fmt.Errorf("account %s: sessions and other members: %w", r.ID.Hex(), err)
		}
	}
	return r, nil
}

// timeOf returns the time of a column, in UTC as store.Account has it.
func timeOf(milliseconds int64) time.Time { return time.UnixMilli(milliseconds).UTC() }
