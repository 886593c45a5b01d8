package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"
)

// AdminGroup is the group of administrators. [Accounts.EnsureRoot] puts the root
// account into it.
const AdminGroup = "admin"

// AddToGroup puts an account into a group. The next request already sees it. An invalid
// group is an error that matches [ErrInvalid].
func (a *Accounts) AddToGroup(ctx context.Context, id ID, group string) error {
	if err := checkGroup(group); err != nil {
		return err
	}
	return a.change(ctx, id, func(account *Account) error {
		if !account.addGroup(group) {
			return ErrUnchanged
		}
		return nil
	})
}

// RemoveFromGroup takes an account out of a group. The next request already sees it,
// unless another process answers it from its cache, see Config.CacheTTL.
//
// It returns [ErrLastAdmin] if no enabled account would be left in [AdminGroup].
func (a *Accounts) RemoveFromGroup(ctx context.Context, id ID, group string) error {
	if group == AdminGroup {
		if err := a.keepAdmin(ctx, id); err != nil {
			return err
		}
	}
	return a.change(ctx, id, func(account *Account) error {
		at, found := slices.BinarySearch(account.Groups, group)
		if !found {
			return ErrUnchanged
		}
		account.Groups = slices.Delete(account.Groups, at, at+1)
		return nil
	})
}

func (a *Account) addGroup(group string) (added bool) {
	at, found := slices.BinarySearch(a.Groups, group)
	if !found {
		a.Groups = slices.Insert(a.Groups, at, group)
	}
	return !found
}

const maxGroupBytes = 64

// checkGroup allows only characters that need no quoting in code and configuration.
// Unlike names, groups are compared byte for byte.
func checkGroup(group string) error {
	for _, r := range group {
		if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._:-", r) {
			group = ""
			break
		}
	}
	if group == "" || len(group) > maxGroupBytes || group == "." || group == ".." { // browsers take these two out of a path
		return &InvalidError{"group", `must be 1 to 64 ASCII letters, digits, ".", "_", ":" or "-", and not "." or ".."`}
	}
	return nil
}

// keepAdmin returns ErrLastAdmin if nobody else could administer. It looks before the
// change: if two administrators remove each other at the same moment, both succeed.
func (a *Accounts) keepAdmin(ctx context.Context, id ID) error {
	account, err := a.backend.FindByID(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil // the change will say so, once a majority of the database has it
	case err != nil:
		return err
	case !account.InGroup(AdminGroup):
		return nil
	}
	for listing := (Listing{Group: AdminGroup}); ; {
		admins, err := a.List(ctx, listing)
		if err != nil {
			return err
		}
		for _, admin := range admins.Accounts {
			if admin.ID != id && !admin.Disabled {
				return nil
			}
		}
		if admins.Next == "" {
			return ErrLastAdmin
		}
		listing.After = admins.Next
	}
}
