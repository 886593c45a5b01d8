package store

import (
	"context"
	"fmt"
)

// knownFormats is a Backend that refuses records of a layout that this program would
// misread.
type knownFormats struct{ Backend }

func (b knownFormats) FindByID(ctx context.Context, id ID) (*Account, error) {
	return checkFormat(b.Backend.FindByID(ctx, id))
}

func (b knownFormats) FindByName(ctx context.Context, name string) (*Account, error) {
	return checkFormat(b.Backend.FindByName(ctx, name))
}

func (b knownFormats) FindByEmail(ctx context.Context, emailKey string) (*Account, error) {
	return checkFormat(b.Backend.FindByEmail(ctx, emailKey))
}

func (b knownFormats) List(ctx context.Context, list List) ([]*Account, error) {
	found, err := b.Backend.List(ctx, list)
	for i := 0; err == nil && i < len(found); i++ {
		_, err = checkFormat(found[i], nil)
	}
	return found, err
}

func (b knownFormats) Update(ctx context.Context, id ID, change func(*Account) error) error {
	return b.Backend.Update(ctx, id, func(account *Account) error {
		if _, err := checkFormat(account, nil); err != nil {
			return err
		}
		return change(account)
	})
}

func checkFormat(account *Account, err error) (*Account, error) {
	if err == nil && account.Format > RecordFormat {
		return nil, fmt.Errorf("%w: the record of account %s has format %d, which a newer version of this program wrote; this version knows only format %d: update the program",
			ErrUnavailable, account.ID.Hex(), account.Format, RecordFormat)
	}
	return account, err
}
