package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/password"
	"github.com/oauthsv/oauthsv/store/transfer"
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

A line of an import has at least a name and an e-mail. "export" shows the other members:

  {"name":"ada","email":"ada@example.org","password_hash":"$2b$12$...","groups":["editors"]}

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
	flags    *flag.FlagSet
	source   iter.Seq2[transfer.Numbered, error] // of an import

	stdin          *os.File
	stdout, stderr io.Writer
}

func runAccounts(ctx context.Context, arguments []string, getenv func(string) string, stdin *os.File, stdout, stderr io.Writer) (err error) {
	c := &accountsCommand{stdin: stdin, stdout: stdout, stderr: stderr}
	flags := flag.NewFlagSet("accounts", flag.ContinueOnError)
	c.flags = flags
	location := storeFlag(flags, getenv)
	flags.BoolVar(&c.json, "json", false, "write JSON lines instead of lines for people")
	flags.StringVar(&c.group, "group", "", "list: only the accounts in this group")
	flags.StringVar(&c.from, "from", "", "import: the mongodb:// URI, with a database name, of a collection with fields such as name, hashpwd and email")
	flags.StringVar(&c.table, "collection", "account", "import: that collection")
	flags.StringVar(&c.after, "after", "", "export: begin after the account with this account_id, to continue an export")
	if err := parseFlags(flags, arguments, accountsUsage+"\nFlags, before COMMAND:\n", stderr); err != nil {
		return err
	}
	command, rest, err := c.find(flags.Args())
	if err != nil {
		return err
	}
	if command.name == "import" { // before the store: a source that is mistyped must not make a file
		closeSource, err := c.openSource(ctx, rest)
		if err != nil {
			return err
		}
		defer closeSource()
	}
	backend, closeBackend, err := openExisting(ctx, *location, command.makesFile, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBackend()) }()
	if c.hasher, err = password.New(password.Config{}); err != nil {
		return err
	}
	if c.accounts, err = store.NewAccounts(store.Config{Backend: backend, Passwords: c.hasher}); err != nil {
		return err
	}
	return command.run(ctx, rest)
}

type subcommand struct {
	name        string
	least, most int // arguments
	run         func(context.Context, []string) error
	makesFile   bool // where there is none
}

// find finds a command and its arguments, before anything is opened.
func (c *accountsCommand) find(arguments []string) (found *subcommand, rest []string, err error) {
	commands := []subcommand{
		{"list", 0, 1, c.list, false},
		{"show", 1, 1, c.show, false},
		{"add", 2, 100, c.add, true},
		{"passwd", 1, 1, c.passwd, false},
		{"disable", 1, 1, c.change((*store.Accounts).Disable), false},
		{"enable", 1, 1, c.change((*store.Accounts).Enable), false},
		{"group add", 2, 2, c.groups((*store.Accounts).AddToGroup), false},
		{"group remove", 2, 2, c.groups((*store.Accounts).RemoveFromGroup), false},
		{"sessions", 1, 1, c.sessions, false},
		{"logout", 1, 2, c.logout, false},
		{"unblock", 1, 1, c.change((*store.Accounts).Unblock), false},
		{"remove", 1, 1, c.change((*store.Accounts).Remove), false},
		{"export", 0, 0, c.export, false},
		{"import", 0, 1, c.importFrom, true},
	}
	var names []string
	for _, command := range commands {
		words := strings.Fields(command.name)
		names = append(names, command.name)
		if len(arguments) < len(words) || strings.Join(arguments[:len(words)], " ") != command.name {
			continue
		}
		rest = arguments[len(words):]
		for _, argument := range rest {
			name, _, _ := strings.Cut(strings.TrimLeft(argument, "-"), "=")
			if strings.HasPrefix(argument, "-") && c.flags.Lookup(name) != nil { // it would pass for a prefix or a group
				return nil, nil, fmt.Errorf("accounts: flags such as %s stand before %s", argument, command.name)
			}
		}
		if len(rest) < command.least || len(rest) > command.most {
			return nil, nil, fmt.Errorf("accounts: wrong number of arguments for %s (-help shows them)", command.name)
		}
		return &command, rest, nil
	}
	if len(arguments) == 0 {
		return nil, nil, fmt.Errorf("accounts: a command is missing: one of %s", strings.Join(names, ", "))
	}
	return nil, nil, fmt.Errorf("accounts: unknown command %s: the commands are %s", shown(arguments[0]), strings.Join(names, ", "))
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
	chosen, err := c.readPassword(ctx)
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
	chosen, err := c.readPassword(ctx)
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
			_, err = fmt.Fprintf(c.stdout, "%s  client %s  since %s  last used %s  from %s  %q\n", session.ID, session.ClientID,
				session.Created.Format(time.DateTime), session.LastRefreshed.Format(time.DateTime), cmp.Or(session.Address, "?"), session.UserAgent)
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
