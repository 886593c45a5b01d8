package boltstore

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
	"go.mongodb.org/mongo-driver/bson"

	"github.com/oauthsv/oauthsv/store"
)

// maxGroup is how many bytes a group can have, because bbolt bounds the length of a key.
const maxGroup = bbolt.MaxKeySize - 1 - len(store.NilID)

// groupKey returns the key of an account in the table of groups. The id may be empty: then it
// is what all keys of the group begin with.
func groupKey(group string, id []byte) []byte {
	key := make([]byte, 0, len(group)+1+len(id))
	key = append(key, group...)
	return append(append(key, 0), id...)
}

// groupsOf returns the groups that an encoded account has in the table of groups, in order and
// each once. Files of format 2 can hold a group that is too long for the table. It is left
// out, so that such a file can be upgraded.
func groupsOf(text bson.Raw) ([]string, error) {
	found := text.Lookup("groups")
	if found.IsZero() || found.Type == bson.TypeNull {
		return nil, nil
	}
	array, isArray := found.ArrayOK()
	values, err := array.Values()
	if !isArray || err != nil {
		return nil, errGroups
	}
	groups := make([]string, 0, len(values))
	for _, value := range values {
		group, isText := value.StringValueOK()
		if !isText {
			return nil, errGroups
		}
		if len(group) <= maxGroup {
			groups = append(groups, group)
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups), nil
}

var errGroups = errors.New("its groups are not a list of texts")

// checkGroups returns an error if the account gets a group that is too long.
func checkGroups(before, account *store.Account) error {
	for _, group := range without(account.Groups, before.Groups) {
		if len(group) > maxGroup {
			return fmt.Errorf("boltstore: account %s: a group is too long", account.ID.Hex())
		}
	}
	return nil
}

// regroup moves the entries of an account in the table of groups from its groups before to
// those after.
func (b *batch) regroup(before, after []string, id store.ID) error {
	for _, group := range without(before, after) {
		if err := b.delete(tableGroups, groupKey(group, id[:])); err != nil {
			return err
		}
	}
	for _, group := range without(after, before) {
		if err := b.put(tableGroups, groupKey(group, id[:]), nil); err != nil {
			return err
		}
	}
	return nil
}

// without returns the groups that are not among others.
func without(groups, others []string) (rest []string) {
	if slices.Equal(groups, others) {
		return nil
	}
	for _, group := range groups {
		if !slices.Contains(others, group) {
			rest = append(rest, group)
		}
	}
	return rest
}
