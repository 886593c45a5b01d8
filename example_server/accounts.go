package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/password"
)

const accountsUsage = `Usage: example_server accounts [flags] COMMAND

  list [PREFIX]                     the accounts; those whose name or e-mail begins with PREFIX
  show ACCOUNT
  add NAME EMAIL [GROUP...]         with a password that is asked for
  passwd ACCOUNT                    a new password ends all sessions
  disable ACCOUNT, enable ACCOUNT
  group add ACCOUNT GROUP, group remove ACCOUNT GROUP
  sessions ACCOUNT                  where it is logged in
  logout ACCOUNT [SESSION]          ends all sessions, or one
  unblock ACCOUNT                   forgets failed logins
  remove ACCOUNT
  export                            all accounts with their hashes, as JSON lines
  import FILE                       JSON lines ("-": standard input), or with -from a MongoDB collection

ACCOUNT is a name, an e-mail or an account_id. A password is asked for without echo, or read
from standard input where that is no terminal.

The commands work on the store itself. A bolt file must not be in use: stop the server first.
Over MongoDB servers can run. They see a change at once, or after their -account-cache.
`

// accountsCommand is one run of "example_server accounts".
type accountsCommand struct {
	accounts *store.Accounts
	hasher   *password.Hasher
	json     bool
	group    string
	from     string
	table    string
	after    string

	stdin          *os.File
	stdout, stderr io.Writer
}

func runAccounts(ctx context.Context, arguments []string, getenv func(string) string, stdin *os.File, stdout, stderr io.Writer) (err error) {
	c := &accountsCommand{stdin: stdin, stdout: stdout, stderr: stderr}
	flags := flag.NewFlagSet("accounts", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	location := storeFlag(flags, getenv)
	flags.BoolVar(&c.json, "json", false, "write JSON lines instead of lines for people")
	flags.StringVar(&c.group, "group", "", "list: only the accounts in this group")
	flags.StringVar(&c.from, "from", "", "import: the mongodb:// URI, with a database name, of a collection with fields such as name, hashpwd and email")
	flags.StringVar(&c.table, "collection", "account", "import: that collection")
	flags.StringVar(&c.after, "after", "", "export: begin after the account with this account_id, to continue an export")
	err = flags.Parse(arguments)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stderr, accountsUsage, "\nFlags, before COMMAND:\n")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return err
	}
	if err != nil {
		return fmt.Errorf("accounts: %w (-help lists the flags)", err)
	}
	command, rest, err := c.find(flags.Args())
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	backend, closeBackend, err := openStore(ctx, *location, logger)
	if err != nil {
		return fmt.Errorf("-store: %w", err)
	}
	defer func() { err = errors.Join(err, closeBackend()) }()
	if c.hasher, err = password.New(password.Config{}); err != nil {
		return err
	}
	if c.accounts, err = store.NewAccounts(store.Config{Backend: backend, Passwords: c.hasher}); err != nil {
		return err
	}
	return command(ctx, rest)
}

// storeFlag is the flag -store of every command.
func storeFlag(flags *flag.FlagSet, getenv func(string) string) *string {
	location := flags.String("store", "", "as for the server (environment: OAUTHSV_STORE; default bolt:oauthsv.db)")
	*location = orDefault(getenv("OAUTHSV_STORE"), "bolt:oauthsv.db")
	return location
}

func orDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// find finds a command and its arguments, before anything is opened.
func (c *accountsCommand) find(arguments []string) (run func(context.Context, []string) error, rest []string, err error) {
	type command struct {
		name        string
		least, most int // arguments
		run         func(context.Context, []string) error
	}
	commands := []command{
		{"list", 0, 1, c.list},
		{"show", 1, 1, c.show},
		{"add", 2, 100, c.add},
		{"passwd", 1, 1, c.passwd},
		{"disable", 1, 1, c.change((*store.Accounts).Disable)},
		{"enable", 1, 1, c.change((*store.Accounts).Enable)},
		{"group add", 2, 2, c.groups((*store.Accounts).AddToGroup)},
		{"group remove", 2, 2, c.groups((*store.Accounts).RemoveFromGroup)},
		{"sessions", 1, 1, c.sessions},
		{"logout", 1, 2, c.logout},
		{"unblock", 1, 1, c.change((*store.Accounts).Unblock)},
		{"remove", 1, 1, c.change((*store.Accounts).Remove)},
		{"export", 0, 0, c.export},
		{"import", 0, 1, c.importFrom},
	}
	var names []string
	for _, command := range commands {
		words := strings.Fields(command.name)
		names = append(names, command.name)
		if len(arguments) < len(words) || strings.Join(arguments[:len(words)], " ") != command.name {
			continue
		}
		rest = arguments[len(words):]
		if len(rest) < command.least || len(rest) > command.most {
			return nil, nil, fmt.Errorf("accounts: wrong number of arguments for %s (-help shows them)", command.name)
		}
		return command.run, rest, nil
	}
	if len(arguments) == 0 {
		return nil, nil, fmt.Errorf("accounts: a command is missing: one of %s", strings.Join(names, ", "))
	}
	return nil, nil, fmt.Errorf("accounts: unknown command %q: the commands are %s", arguments[0], strings.Join(names, ", "))
}

// account finds the account that an argument names.
func (c *accountsCommand) account(ctx context.Context, name string) (account *store.Account, err error) {
	id, notID := store.ParseID(name)
	switch {
	case strings.Contains(name, "@"):
		account, err = c.accounts.FindByEmail(ctx, name)
	case notID == nil:
		account, err = c.accounts.FindByID(ctx, id)
	default:
		account, err = c.accounts.FindByName(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("account %q: %w", name, err)
	}
	return account, nil
}

func (c *accountsCommand) list(ctx context.Context, arguments []string) error {
	listing := store.Listing{Group: c.group, Limit: 1000}
	if len(arguments) > 0 {
		listing.Prefix = arguments[0]
	}
	for {
		page, err := c.accounts.List(ctx, listing)
		if err != nil {
			return err
		}
		for _, account := range page.Accounts {
			if err := c.print(account); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		listing.After = page.Next
	}
}

func (c *accountsCommand) show(ctx context.Context, arguments []string) error {
	account, err := c.account(ctx, arguments[0])
	if err != nil {
		return err
	}
	return c.print(account)
}

// print writes an account as a line.
func (c *accountsCommand) print(account *store.Account) error {
	if c.json {
		return c.printJSON(account)
	}
	notes := ""
	if account.Disabled {
		notes += ", disabled"
	}
	if account.PasswordHash == "" {
		notes += ", no password"
	}
	_, err := fmt.Fprintf(c.stdout, "%s  %s  %s  groups [%s]  last action %s%s\n", account.ID.Hex(), account.Name, account.Email,
		strings.Join(account.Groups, " "), account.LastAction.Format(time.DateTime), notes)
	return err
}

func (c *accountsCommand) printJSON(value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = c.stdout.Write(append(line, '\n'))
	return err
}

func (c *accountsCommand) add(ctx context.Context, arguments []string) error {
	chosen, err := c.readPassword()
	if err != nil {
		return err
	}
	account, err := c.accounts.Create(ctx, store.NewAccount{Name: arguments[0], Email: arguments[1], Groups: arguments[2:], Password: chosen})
	if err != nil {
		return err
	}
	return c.print(account)
}

func (c *accountsCommand) passwd(ctx context.Context, arguments []string) error {
	account, err := c.account(ctx, arguments[0])
	if err != nil {
		return err
	}
	chosen, err := c.readPassword()
	if err != nil {
		return err
	}
	return c.accounts.SetPassword(ctx, account.ID, chosen)
}

// change makes a command of a call that changes an account.
func (c *accountsCommand) change(call func(*store.Accounts, context.Context, store.ID) error) func(context.Context, []string) error {
	return func(ctx context.Context, arguments []string) error {
		account, err := c.account(ctx, arguments[0])
		if err != nil {
			return err
		}
		return call(c.accounts, ctx, account.ID)
	}
}

func (c *accountsCommand) groups(call func(*store.Accounts, context.Context, store.ID, string) error) func(context.Context, []string) error {
	return func(ctx context.Context, arguments []string) error {
		account, err := c.account(ctx, arguments[0])
		if err != nil {
			return err
		}
		return call(c.accounts, ctx, account.ID, arguments[1])
	}
}

func (c *accountsCommand) sessions(ctx context.Context, arguments []string) error {
	account, err := c.account(ctx, arguments[0])
	if err != nil {
		return err
	}
	sessions, err := c.accounts.Sessions(ctx, account.ID)
	if err != nil {
		return err
	}
	for _, session := range grant.ViewSessions(sessions, "") {
		if c.json {
			err = c.printJSON(session)
		} else {
			_, err = fmt.Fprintf(c.stdout, "%s  client %s  since %s  last used %s  from %s  %s\n", session.ID, session.ClientID,
				session.Created.Format(time.DateTime), session.LastRefreshed.Format(time.DateTime), orDefault(session.Address, "?"), session.UserAgent)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *accountsCommand) logout(ctx context.Context, arguments []string) error {
	account, err := c.account(ctx, arguments[0])
	if err != nil {
		return err
	}
	if len(arguments) > 1 {
		return c.accounts.EndSession(ctx, account.ID, arguments[1])
	}
	return c.accounts.EndSessions(ctx, account.ID, "")
}
