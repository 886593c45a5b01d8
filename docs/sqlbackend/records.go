package sqlbackend

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/oauthsv/oauthsv/store"
)

// UpdateRecord is as [store.Backend] says.
func (b *Backend) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	return untilNoConflict(ctx, "updating a record", func() error {
		current, version, found, err := b.readRecord(ctx, key)
		if err != nil {
			return err
		}
		if !now.Before(current.Expires) {
			current = store.Record{} // it counts as absent; its row is replaced all the same
		}
		if err := change(&current); err != nil {
			return unlessUnchanged(err)
		}
		if !found && len(current.Value) == 0 {
			return nil
		}
		return b.write(ctx, "updating a record", func(tx *sql.Tx) error {
			if err := writeRecord(ctx, tx, key, &current, version, found); err != nil {
				return err
			}
			return sweep(ctx, tx, now)
		})
	})
}

func (b *Backend) readRecord(ctx context.Context, key string) (record store.Record, version int64, found bool, err error) {
	var expires int64
	err = b.db.QueryRowContext(ctx, "SELECT value, expires, version FROM expiring_records WHERE key = ?", key).
		Scan(&record.Value, &expires, &version)
	if errors.Is(err, sql.ErrNoRows) {
		return store.Record{}, 0, false, nil
	}
	record.Expires = timeOf(expires)
	return record, version, true, named("reading a record", err)
}

// writeRecord writes or removes the row of a key, if it is still as it was read.
func writeRecord(ctx context.Context, tx *sql.Tx, key string, record *store.Record, version int64, found bool) error {
	switch {
	case len(record.Value) == 0:
		return mustHitOne(tx.ExecContext(ctx, "DELETE FROM expiring_records WHERE key = ? AND version = ?", key, version))
	case found:
		return mustHitOne(tx.ExecContext(ctx, "UPDATE expiring_records SET value = ?, expires = ?, version = ? WHERE key = ? AND version = ?",
			record.Value, record.Expires.UnixMilli(), newVersion(), key, version))
	}
	return mustHitOne(tx.ExecContext(ctx, "INSERT INTO expiring_records (key, value, expires, version) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
		key, record.Value, record.Expires.UnixMilli(), newVersion()))
}

const (
	// sweepAge is how long after its expiry a record is removed. The clocks of servers
	// differ: without this time, one that is ahead would remove what others still use.
	sweepAge = time.Hour
	// sweepAtOnce is how many records one call removes. A call adds one at most, so expired
	// records do not pile up, and no call takes long.
	sweepAtOnce = 4
)

// sweep removes some records that expired long ago.
func sweep(ctx context.Context, tx *sql.Tx, now time.Time) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM expiring_records WHERE key IN
		(SELECT key FROM expiring_records WHERE expires < ? ORDER BY expires LIMIT ?)`, now.Add(-sweepAge).UnixMilli(), sweepAtOnce)
	return err
}
