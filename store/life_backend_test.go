package store_test

import (
	"context"
	"time"

	"github.com/oauthsv/oauthsv/store"
)

func (b *failingBackend) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	if err := b.check("FindByID"); err != nil {
		return nil, err
	}
	return b.Backend.FindByID(ctx, id)
}

func (b *failingBackend) FindByEmail(ctx context.Context, emailKey string) (*store.Account, error) {
	if err := b.check("FindByEmail"); err != nil {
		return nil, err
	}
	return b.Backend.FindByEmail(ctx, emailKey)
}

func (b *failingBackend) Create(ctx context.Context, account *store.Account) error {
	if err := b.check("Create"); err != nil {
		return err
	}
	return b.Backend.Create(ctx, account)
}

func (b *failingBackend) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	if err := b.check("Update"); err != nil {
		return err
	}
	return b.Backend.Update(ctx, id, change)
}

func (b *failingBackend) Delete(ctx context.Context, id store.ID) error {
	if err := b.check("Delete"); err != nil {
		return err
	}
	return b.Backend.Delete(ctx, id)
}

func (b *failingBackend) List(ctx context.Context, list store.List) ([]*store.Account, error) {
	if err := b.check("List"); err != nil {
		return nil, err
	}
	return b.Backend.List(ctx, list)
}

func (b *failingBackend) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	if err := b.check("UpdateRecord"); err != nil {
		return err
	}
	return b.Backend.UpdateRecord(ctx, key, now, change)
}
