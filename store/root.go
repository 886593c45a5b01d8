package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
)

// Root says what [Accounts.EnsureRoot] did.
type Root struct {
	// Created reports whether this call made the account.
	Created bool
	// Password is the password that this call generated. It is empty if the caller chose
	// one.
	Password string
	// Weakness is why Config.PasswordPolicy would refuse the password, or nil. Warn of
	// it: the account has the password all the same, because the operator chose it.
	Weakness error
}

// EnsureRoot makes an administrator in a store that holds no account, so that somebody can
// log in and make the others. The new account is in the group [AdminGroup]. In any other
// store EnsureRoot does nothing: whoever renamed or removed the root account wanted that.
//
// If password is empty, EnsureRoot generates one. If several processes call it at the same
// time with the same name or e-mail, only one of them makes the account.
func (a *Accounts) EnsureRoot(ctx context.Context, name, email, password string) (Root, error) {
	anybody, err := a.backend.List(ctx, List{Limit: 1})
	if err != nil || len(anybody) > 0 {
		return Root{}, err
	}
	root := Root{Created: true}
	if password == "" {
		root.Password = rand.Text()
		password = root.Password
	}
	wanted := NewAccount{Name: name, Email: email, Password: password, Groups: []string{AdminGroup}}
	_, err = a.create(ctx, wanted, func(ctx context.Context, prepared, name, emailKey string) error {
		root.Weakness = a.policy.check(ctx, prepared, name, emailKey)
		if errors.Is(root.Weakness, ErrUnavailable) {
			return root.Weakness
		}
		return nil
	})
	if errors.Is(err, ErrExists) {
		return Root{}, nil // another process was faster
	}
	if err != nil {
		return Root{}, fmt.Errorf("store: making the root account: %w", err)
	}
	return root, nil
}
