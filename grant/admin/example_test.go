package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/grant/admin"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
	"github.com/oauthsv/oauthsv/tokens"
)

// office is a server with the endpoints of this package, and an administrator of it.
type office struct {
	web   *httptest.Server
	token string
}

// openOffice makes the kit over a bolt file. The events that an administrator causes are printed.
func openOffice(backend *boltstore.Store) *office {
	accounts, err := store.NewAccounts(store.Config{Backend: backend})
	if err != nil {
		panic(err)
	}
	key, err := tokens.GenerateKey(tokens.HS512)
	if err != nil {
		panic(err)
	}
	keys, err := tokens.NewKeyring(key)
	if err != nil {
		panic(err)
	}
	issuer, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: "https://login.example.org"})
	if err != nil {
		panic(err)
	}
	server, err := grant.NewServer(grant.Config{
		Accounts: accounts, Issuer: issuer, Logger: slog.New(slog.DiscardHandler),
		Event: func(_ context.Context, event grant.Event) {
			if !event.ActorID.IsZero() {
				fmt.Printf("event %s: %q\n", event.Type, event.Reason)
			}
		},
	})
	if err != nil {
		panic(err)
	}
	auth, err := middleware.New(middleware.Config{Verifier: issuer.Verifier(), Accounts: accounts})
	if err != nil {
		panic(err)
	}
	handlers, err := admin.New(admin.Config{Server: server, Auth: auth, Backup: backend})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	handlers.Mount(mux)
	server.Mount(mux)

	const password = "nine-kettles-sing-at-noon"
	if _, err := accounts.EnsureRoot(context.Background(), "root", "root@localhost", password); err != nil {
		panic(err)
	}
	response, err := server.Password(context.Background(), grant.PasswordRequest{Username: "root", Password: password})
	if err != nil {
		panic(err)
	}
	return &office{httptest.NewServer(mux), response.AccessToken}
}

// call makes a request as the administrator and prints its status.
func (o *office) call(method, path, body string) []byte {
	request, err := http.NewRequest(method, o.web.URL+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Authorization", "Bearer "+o.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil { // for example, a backup that broke off
		panic(err)
	}
	fmt.Println(method, response.Status)
	return text
}

// An administrator makes an account, gives it a password later, and finds it again.
func Example() {
	directory, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(directory)
	backend, err := boltstore.Open(filepath.Join(directory, "accounts.db"), boltstore.Config{})
	if err != nil {
		panic(err)
	}
	defer backend.Close()
	o := openOffice(backend)
	defer o.web.Close()

	var account store.Account
	created := o.call("POST", "/admin/accounts", `{"name": "ada", "email": "ada@example.org", "groups": ["editors"]}`)
	if err := json.Unmarshal(created, &account); err != nil {
		panic(err)
	}
	o.call("PATCH", "/admin/accounts/"+account.ID.Hex(), `{"password": "ten-lanterns-drift-by-dusk", "phone": "+1 555 0100"}`)
	o.call("PUT", "/admin/accounts/"+account.ID.Hex()+"/groups/reviewers", "")

	var page struct {
		Accounts []store.Account
		Next     string // of the next page, as the parameter after
	}
	if err := json.Unmarshal(o.call("GET", "/admin/accounts?prefix=ad&limit=10", ""), &page); err != nil {
		panic(err)
	}
	for _, found := range page.Accounts {
		fmt.Println(found.Name, found.Email, found.Phone, found.Groups)
	}
	// Output:
	// event account_created: "editors"
	// POST 201 Created
	// event account_changed: "phone, password"
	// PATCH 200 OK
	// event group_added: "reviewers"
	// PUT 204 No Content
	// GET 200 OK
	// ada ada@example.org +1 555 0100 [editors reviewers]
}

// A backup is a file that boltstore opens. A client that gets an error while it reads has no
// whole copy.
func ExampleConfig_backup() {
	directory, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(directory)
	backend, err := boltstore.Open(filepath.Join(directory, "accounts.db"), boltstore.Config{})
	if err != nil {
		panic(err)
	}
	defer backend.Close()
	o := openOffice(backend)
	defer o.web.Close()

	backup := filepath.Join(directory, "backup.db")
	if err := os.WriteFile(backup, o.call("GET", "/admin/backup", ""), 0o600); err != nil {
		panic(err)
	}
	restored, err := boltstore.Open(backup, boltstore.Config{}) // this checks it
	if err != nil {
		panic(err)
	}
	defer restored.Close()
	root, err := restored.FindByName(context.Background(), "root")
	if err != nil {
		panic(err)
	}
	fmt.Println(root.Name, root.Groups)
	// Output:
	// event backup_made: ""
	// GET 200 OK
	// root [admin]
}
