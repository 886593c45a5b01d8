// Command shop is the program of docs/own-users-table.md: a shop whose users have been in a
// table of its own all along, and which gets its login from the kit.
package main

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"log"
	"net/http"
	"path/filepath"

	"github.com/oauthsv/oauthsv/docs/sqlbackend"
	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

const address = "localhost:8080"

//go:embed team.sql
var teamSQL string

func main() {
	db, err := openTeamDB("shop.db")
	if err != nil {
		log.Fatal(err)
	}
	app, err := newApp(context.Background(), db, ".")
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("curl http://%s/token -d grant_type=password -d username=ada -d password=nine-kettles-sing-at-noon", address)
	log.Fatal(http.ListenAndServe(address, app))
}

// openTeamDB opens the shop's database. A new one gets the table of users as it was before
// the kit came.
func openTeamDB(path string) (*sql.DB, error) {
	db, err := sqlbackend.OpenDB(path)
	if err != nil {
		return nil, err
	}
	var tables int
	if err := db.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return nil, err
	}
	if tables == 0 {
		_, err = db.Exec(teamSQL)
	}
	return db, err
}

// newApp returns the shop with its login. The key file is in directory.
func newApp(ctx context.Context, db *sql.DB, directory string) (http.Handler, error) {
	users, err := sqlbackend.New(ctx, db)
	if err != nil {
		return nil, err
	}
	accounts, err := store.NewAccounts(store.Config{Backend: users})
	if err != nil {
		return nil, err
	}
	keys, err := tokens.OpenKeyring(tokens.KeyFile{Path: filepath.Join(directory, "shop.key")})
	if err != nil {
		return nil, err
	}
	issuer, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: "http://" + address})
	if err != nil {
		return nil, err
	}
	server, err := grant.NewServer(grant.Config{Accounts: accounts, Issuer: issuer})
	if err != nil {
		return nil, err
	}
	auth, err := middleware.New(middleware.Config{Verifier: issuer.Verifier(), Accounts: accounts})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	server.Mount(mux)
	mux.Handle("GET /orders", auth.Require(&orders{db, users}))
	return mux, nil
}

// orders answers with the orders of the caller.
type orders struct {
	db    *sql.DB
	users *sqlbackend.Backend
}

func (o *orders) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := o.users.UserID(r.Context(), middleware.MustAccountID(r.Context()))
	if err != nil {
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	items, err := o.of(r.Context(), id)
	if err != nil {
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"user": id, "items": items})
}

// of is the team's own code. It knows users by their integer ids, and nothing of accounts.
func (o *orders) of(ctx context.Context, user int64) ([]string, error) {
	rows, err := o.db.QueryContext(ctx, "SELECT item FROM orders WHERE user_id = ? ORDER BY id", user)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err tells of every failure
	items := []string{}
	for rows.Next() {
		var item string
		if err := rows.Scan(&item); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, rows.Err()
}
