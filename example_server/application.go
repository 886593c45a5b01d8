package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/grant/admin"
	"github.com/oauthsv/oauthsv/grant/selfservice"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
	"github.com/oauthsv/oauthsv/store/mail"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/mongostore"
	"github.com/oauthsv/oauthsv/store/password"
	"github.com/oauthsv/oauthsv/tokens"
)

// application is the kit put together.
type application struct {
	handler http.Handler
	reload  func()
	close   func() error
	metrics metrics
}

func newApplication(ctx context.Context, s *settings, logger *slog.Logger, stderr io.Writer) (_ *application, err error) {
	mailer, closeMail, err := openMail(s, logger)
	if err != nil {
		return nil, err
	}
	backend, closeBackend, err := openStore(ctx, s.store, logger)
	if err != nil {
		closeMail()
		return nil, fmt.Errorf("-store: %w", err)
	}
	closeAll := func() error {
		closeMail() // before the store, which mails need
		return closeBackend()
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll())
		}
	}()
	// The keys come late, so that most starts that are refused leave no new key file behind.
	keys, err := tokens.OpenKeyring(tokens.KeyFile{Path: s.keyFile, Logger: logger})
	if err != nil {
		return nil, fmt.Errorf("-key-file: %w", err)
	}
	logOpened(s, logger)
	if keys.Created() && isMongoDB(s.store) {
		logger.Warn("every process over the same database needs this same key file: copy it to the others", "file", s.keyFile)
	}
	issuer, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: s.issuer, Audience: s.audience})
	if err != nil {
		return nil, fmt.Errorf("-issuer, -audience: %w", err)
	}

	hasher, err := password.New(password.Config{})
	if err != nil {
		return nil, err
	}
	kept := backend
	var metered *store.MeteredBackend
	if s.metricsAddr != "" {
		metered = store.NewMeteredBackend(backend)
		kept = metered
	}
	accounts, err := store.NewAccounts(store.Config{
		Backend:         kept,
		Passwords:       hasher,
		RefreshTTL:      s.refreshTTL,
		SessionTTL:      s.sessionTTL,
		ReuseInterval:   s.reuseInterval,
		LostReplyWindow: s.lostReplyWindow,
		CacheTTL:        s.accountCache,
		Mailer:          mailer,
	})
	if err != nil {
		return nil, err
	}
	if err := ensureRoot(ctx, accounts, s, logger, stderr); err != nil {
		return nil, err
	}

	var server *grant.Server
	auth, err := middleware.New(middleware.Config{
		Verifier: issuer.Verifier(), Accounts: accounts, Realm: "oauthsv", Logger: logger,
		TokenReused: func(ctx context.Context, ref store.SessionRef) { server.TokenReused(ctx, ref) },
	})
	if err != nil {
		return nil, err
	}
	server, err = grant.NewServer(grant.Config{
		Accounts: accounts, Issuer: issuer, AccessTTL: s.accessTTL, RecordOrigin: true, Logger: logger,
		TrustedProxies: s.trustedProxies, RefreshCookies: s.refreshCookies(),
		MayIntrospect: auth.MayIntrospect(func(account *store.Account) bool {
			return account.InGroup("introspect") || account.InGroup(store.AdminGroup)
		}),
	})
	if err != nil {
		return nil, err
	}

	account, err := selfservice.New(selfservice.Config{Server: server, Auth: auth, NoRegistration: s.noRegistration})
	if err != nil {
		return nil, err
	}
	if mailer != nil && !s.noRegistration {
		logger.Info("strangers can register; -registration off turns that off")
	}
	backup, _ := backend.(io.WriterTo) // the file of a bolt store
	administration, err := admin.New(admin.Config{Server: server, Auth: auth, Backup: backup})
	if err != nil {
		return nil, err
	}

	mux := http.NewServeMux()
	account.Mount(mux)
	administration.Mount(mux)
	if err := mountPage(mux, newPageSettings(s)); err != nil {
		return nil, err
	}
	mux.Handle("GET /public", auth.Optional(http.HandlerFunc(serveAccountID)))
	mux.Handle("GET /admin", auth.RequireGroup(store.AdminGroup)(http.HandlerFunc(serveAccountID)))
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := accounts.Ping(r.Context()); err != nil {
			http.Error(w, "the store does not answer", http.StatusServiceUnavailable)
		}
	})
	if err := mountProtocol(mux, server, s.issuer); err != nil {
		return nil, err
	}
	queue, _ := mailer.(*mail.Queue)
	return &application{
		handler: mux,
		reload:  func() { reloadKeys(keys, logger) },
		close:   closeAll,
		metrics: metrics{server, issuer.Verifier(), hasher, metered, queue},
	}, nil
}

// mountProtocol mounts the endpoints below the path of the issuer. http.ServeMux panics if one
// meets another endpoint there.
func mountProtocol(mux *http.ServeMux, server *grant.Server, issuer string) (err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("-issuer %q: other endpoints of this server have its path: choose another one, such as /auth", issuer)
		}
	}()
	server.Mount(mux)
	return nil
}

// reloadKeys takes over what an operator has changed in the key file.
func reloadKeys(keys *tokens.Keyring, logger *slog.Logger) {
	changes, err := keys.Reload()
	if err != nil {
		logger.Error("the key file is not usable; the old keys stay in force", "error", err)
		return
	}
	logger.Info("reloaded the keys", "new", strings.Join(changes.Added, ", "), "gone", strings.Join(changes.Removed, ", "))
}

func openStore(ctx context.Context, location string, logger *slog.Logger) (backend store.Backend, closeBackend func() error, err error) {
	path, isBolt := strings.CutPrefix(location, "bolt:")
	switch {
	case location == "memory:":
		return memstore.New(), func() error { return nil }, nil
	case isBolt && strings.Contains(path, "://"): // an error would show its password
		return nil, nil, errors.New("bolt: takes the name of a file, not a URI")
	case isBolt && path != "":
		bolt, err := boltstore.Open(path, boltstore.Config{Logger: logger})
		if err != nil {
			return nil, nil, err
		}
		return bolt, bolt.Close, nil
	case isMongoDB(location):
		mongo, err := mongostore.Open(ctx, location, mongostore.Config{Logger: logger})
		if err != nil {
			return nil, nil, err
		}
		return mongo, mongo.Close, nil
	}
	const expected = "must be memory:, bolt: with the name of a file such as bolt:oauthsv.db, or a mongodb:// or mongodb+srv:// URI such as mongodb://localhost/oauthsv"
	if strings.ContainsAny(location, "@/") { // perhaps a URI with a password
		return nil, nil, errors.New(expected)
	}
	return nil, nil, fmt.Errorf("%q: %s", location, expected)
}

// logOpened says which accounts and keys are in use: in another folder there would be others. A
// URI may hold a password, so it is left out.
func logOpened(s *settings, logger *slog.Logger) {
	kept := s.store
	if path, isBolt := strings.CutPrefix(s.store, "bolt:"); isBolt {
		kept = "bolt:" + absolute(path)
	} else if isMongoDB(s.store) {
		kept = "MongoDB"
	}
	logger.Info("opened the store and the keys", "store", kept, "key_file", absolute(s.keyFile))
}

func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

func isMongoDB(location string) bool {
	return strings.HasPrefix(location, "mongodb://") || strings.HasPrefix(location, "mongodb+srv://")
}

func ensureRoot(ctx context.Context, accounts *store.Accounts, s *settings, logger *slog.Logger, stderr io.Writer) error {
	root, err := accounts.EnsureRoot(ctx, s.rootName, s.rootEmail, s.rootPassword)
	if err != nil {
		return fmt.Errorf("-root-name %q, -root-email %q, OAUTHSV_ROOT_PASSWORD: %w", s.rootName, s.rootEmail, err)
	}
	if root.Password != "" {
		fmt.Fprintf(stderr, "made account %q with password %s (shown this once)\n", s.rootName, root.Password)
	}
	if root.Weakness != nil {
		logger.Warn("OAUTHSV_ROOT_PASSWORD is weak: set a better one for this account", "account", s.rootName, "reason", root.Weakness)
	}
	if root.Created {
		return nil
	}
	if s.rootPassword != "" {
		logger.Info("OAUTHSV_ROOT_PASSWORD is not used, because the store holds accounts: \"example_server accounts passwd ACCOUNT\" sets a password")
	}
	admins, err := accounts.List(ctx, store.Listing{Group: store.AdminGroup, Limit: 1})
	if err == nil && len(admins.Accounts) == 0 {
		logger.Warn("no account is in the group admin: \"example_server accounts group add ACCOUNT admin\" puts one into it")
	}
	return err
}

// serveAccountID answers with null for a caller without credentials.
func serveAccountID(w http.ResponseWriter, r *http.Request) {
	var answer struct {
		AccountID *store.ID `json:"account_id"`
	}
	if id, known := middleware.AccountID(r.Context()); known {
		answer.AccountID = &id
	}
	writeJSON(w, answer)
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	_ = json.MarshalWrite(w, body) // the client is gone: nobody is left to tell
}
