package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
	"github.com/oauthsv/oauthsv/store/mongostore"
	"github.com/oauthsv/oauthsv/store/transfer"
)

// storeFlag is the flag -store of every command.
func storeFlag(flags *flag.FlagSet, getenv func(string) string) *string {
	location := flags.String("store", "", "as for the server (environment: OAUTHSV_STORE; default bolt:oauthsv.db)")
	*location = cmp.Or(getenv("OAUTHSV_STORE"), "bolt:oauthsv.db")
	return location
}

// openExisting opens the store that a command works on. A file is made only if the command may
// do so: the name of another file may be mistyped.
func openExisting(ctx context.Context, location string, mayMake bool, stderr io.Writer) (store.Backend, func() error, error) {
	if location == "memory:" {
		return nil, nil, errors.New("-store: memory: ends with the process; name a bolt: file or a mongodb:// URI")
	}
	path, isBolt := strings.CutPrefix(location, "bolt:")
	if isBolt && path != "" && !strings.Contains(path, "://") && !mayMake {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("-store: there is no file %s; name the one that the server has", path)
		}
	}
	backend, closeBackend, err := openStore(ctx, location, slog.New(slog.NewTextHandler(stderr, nil)))
	if errors.Is(err, boltstore.ErrInUse) {
		err = fmt.Errorf("%w; stop the server first", err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("-store: %w", err)
	}
	return backend, closeBackend, nil
}

// readPassword asks for a password twice, or reads a line where nobody can be asked.
func (c *accountsCommand) readPassword(ctx context.Context) (string, error) {
	chosen, err := c.typedPassword(ctx)
	if err == nil && chosen == "" {
		err = errors.New("the password is empty: nothing was changed")
	}
	return chosen, err
}

func (c *accountsCommand) typedPassword(ctx context.Context) (string, error) {
	terminal := int(c.stdin.Fd())
	if !term.IsTerminal(terminal) {
		line, err := bufio.NewReader(io.LimitReader(c.stdin, 4<<10)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", fmt.Errorf("reading the password from standard input: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	var typed [2]string
	for i, prompt := range []string{"New password: ", "Once more: "} {
		fmt.Fprint(c.stderr, prompt)
		var err error
		typed[i], err = askPassword(ctx, terminal)
		fmt.Fprintln(c.stderr)
		if err != nil {
			return "", fmt.Errorf("reading the password: %w", err)
		}
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two passwords differ: nothing was changed")
	}
	return typed[0], nil
}

// askPassword reads a line without echo. An interrupt ends it, and brings the echo back.
func askPassword(ctx context.Context, terminal int) (string, error) {
	before, err := term.GetState(terminal)
	if err != nil {
		return "", err
	}
	type answer struct {
		text []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(terminal)
		answered <- answer{text, err}
	}()
	select {
	case typed := <-answered:
		return string(typed.text), typed.err
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(terminal, before))
	}
}

// progress shows how far a long command is: in one line on a terminal, and in a line now
// and then elsewhere.
type progress struct {
	to       io.Writer
	terminal bool
	shown    time.Time
}

func newProgress(to io.Writer) *progress {
	file, isFile := to.(*os.File)
	return &progress{to: to, terminal: isFile && term.IsTerminal(int(file.Fd())), shown: time.Now()}
}

func (p *progress) show(text string) {
	every, end := 10*time.Second, "\n"
	if p.terminal {
		every, end = 200*time.Millisecond, "\x1b[K\r"
	}
	if now := time.Now(); now.Sub(p.shown) >= every {
		p.shown = now
		fmt.Fprint(p.to, text, end)
	}
}

func (p *progress) done(text string) {
	if p.terminal {
		fmt.Fprint(p.to, "\x1b[K")
	}
	fmt.Fprintln(p.to, text)
}

func (c *accountsCommand) export(ctx context.Context, _ []string) error {
	after := store.NilID
	if c.after != "" {
		var err error
		if after, err = store.ParseID(c.after); err != nil {
			return fmt.Errorf("-after: %w", err)
		}
	}
	to := bufio.NewWriter(c.stdout)
	shown := newProgress(c.stderr)
	last := after
	written, err := transfer.Export(ctx, c.accounts, to, after, func(written int, id store.ID) {
		if to.Flush() == nil { // else the lines of this page may be lost
			last = id
		}
		shown.show(fmt.Sprintf("%d accounts", written))
	})
	if err == nil {
		err = to.Flush()
	}
	if err != nil && last == store.NilID {
		return fmt.Errorf("%w; the output is of no use: export again", err)
	}
	if err != nil {
		return fmt.Errorf("%w; to continue: drop what follows account %s in the output, and export with -after %s", err, last.Hex(), last.Hex())
	}
	shown.done(fmt.Sprintf("exported %d accounts", written))
	return nil
}

func (c *accountsCommand) importFrom(ctx context.Context, _ []string) error {
	shown := newProgress(c.stderr)
	report := func(counts transfer.Counts) string {
		return fmt.Sprintf("imported %d, already there %d, refused %d", counts.Imported, counts.Present, counts.Refused)
	}
	counts, err := transfer.Import(ctx, transfer.Config{
		Accounts: c.accounts, Hasher: c.hasher,
		Refused: func(number int, reason error) {
			if c.json {
				_ = c.printJSON(refusal{number, reason.Error()})
				return
			}
			fmt.Fprintf(c.stdout, "record %d: %v\n", number, reason)
		},
		Progress: func(counts transfer.Counts) { shown.show(report(counts)) },
	}, c.source)
	shown.done(report(counts))
	if err != nil {
		return fmt.Errorf("%w; run the import again to continue: accounts that are there are skipped", err)
	}
	if counts.Refused > 0 {
		return fmt.Errorf("%d records were refused: mend them and run the import again", counts.Refused)
	}
	return nil
}

// refusal is a record that an import refused.
type refusal struct {
	Record int    `json:"record"`
	Reason string `json:"refused"`
}

// openSource opens what is imported.
func (c *accountsCommand) openSource(ctx context.Context, arguments []string) (closeSource func(), err error) {
	nothing := func() {}
	switch {
	case (c.from != "") == (len(arguments) > 0):
		return nil, errors.New("accounts: import takes a file (\"-\" for standard input), or -from with a mongodb:// URI")
	case c.from != "" && !isMongoDB(c.from):
		return nil, errors.New("accounts: -from must be a mongodb:// or mongodb+srv:// URI with a database name, such as mongodb://localhost/clink")
	case c.from != "":
		c.source = mongostore.ReadClink(ctx, c.from, c.table)
		return nothing, nil
	case arguments[0] == "-":
		c.source = transfer.ReadLines(c.stdin)
		return nothing, nil
	}
	file, err := os.Open(arguments[0])
	if err != nil {
		return nil, fmt.Errorf("accounts: import: %w", err)
	}
	c.source = transfer.ReadLines(file)
	return func() { _ = file.Close() }, nil
}

const backupUsage = `Usage: example_server backup [flags] FILE

Copies a bolt file while no server runs. To restore, put the copy in the place of the file.
A server that runs gives a copy at GET /admin/backup.
`

// runBackup copies a bolt file.
func runBackup(ctx context.Context, arguments []string, getenv func(string) string, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("backup", flag.ContinueOnError)
	location := storeFlag(flags, getenv)
	if err := parseFlags(flags, arguments, backupUsage+"\nFlags, before FILE:\n", stderr); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("backup: name the file to write (-help explains)")
	}
	if !strings.HasPrefix(*location, "bolt:") {
		return errors.New("backup: only bolt: stores are files; for MongoDB use mongodump, or \"accounts export\"")
	}
	if _, err := os.Lstat(flags.Arg(0)); err == nil { // before the work
		return fmt.Errorf("backup: %s is there already", flags.Arg(0))
	}
	backend, closeBackend, err := openExisting(ctx, *location, false, stderr)
	if errors.Is(err, boltstore.ErrInUse) {
		err = fmt.Errorf("%w, or let it make the backup at GET /admin/backup", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBackend()) }()
	from, can := backend.(io.WriterTo)
	if !can {
		return errors.New("backup: this store has no backup of its own")
	}
	return writeWhole(flags.Arg(0), from)
}

// writeWhole makes a file that is complete from the moment it has its name. It replaces none.
func writeWhole(path string, from io.WriterTo) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer os.Remove(temporary.Name())
	_, err = from.WriteTo(temporary)
	if err == nil {
		err = temporary.Sync()
	}
	if err := errors.Join(err, temporary.Close()); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := os.Link(temporary.Name(), path); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}
