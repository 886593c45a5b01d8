package transfer

import (
	"context"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"

	"github.com/oauthsv/oauthsv/store"
)

// exportPage is how many accounts are read at once.
const exportPage = 500

// Export writes the accounts as JSON lines, in order of their ids. To continue an export
// that was stopped, pass the id of the last account that was written. store.NilID begins at
// the first.
//
// progress, if set, is called after each page with the number of accounts written so far,
// and the id of the last.
//
// Accounts that are made or changed meanwhile may be missing, or be as they were before.
func Export(ctx context.Context, accounts *store.Accounts, to io.Writer, after store.ID, progress func(written int, last store.ID)) (written int, err error) {
	listing := store.Listing{Limit: exportPage}
	if after != store.NilID {
		listing.After = store.AfterID(after)
	}
	for {
		page, err := accounts.List(ctx, listing)
		if err != nil {
			return written, fmt.Errorf("transfer: listing accounts: %w", err)
		}
		for _, account := range page.Accounts {
			line, err := json.Marshal(recordOf(account))
			if err != nil {
				return written, fmt.Errorf("transfer: encoding account %s: %w", account.ID.Hex(), err)
			}
			if _, err := to.Write(append(line, '\n')); err != nil {
				return written, fmt.Errorf("transfer: writing account %s: %w", account.ID.Hex(), err)
			}
			written++
			after = account.ID
		}
		if progress != nil {
			progress(written, after)
		}
		if page.Next == "" {
			return written, nil
		}
		listing.After = page.Next
	}
}
