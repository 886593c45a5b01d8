package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/oauthsv/oauthsv/tokens"
)

const keysUsage = `Usage: example_server keys [flags] COMMAND

  list           show the keys of the file
  add            make a key; it is published and verifies, and does not sign yet;
                 where there is no file, make one with a key that signs
  activate KID   let a key sign and retire the one that did
  retire KID     retire a key that does not sign; with -now, remove it at once

Send SIGHUP to every server after each step. To rotate: add, SIGHUP, activate,
SIGHUP; between the two wait until others have fetched the key, 5 minutes.
`

// runKeys changes the key file, so that nobody edits JWK sets by hand.
func runKeys(arguments []string, getenv func(string) string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("keys", flag.ContinueOnError)
	path := flags.String("key-file", cmp.Or(getenv("OAUTHSV_KEY_FILE"), "oauthsv.key"), "the key file (environment: OAUTHSV_KEY_FILE)")
	algorithm := flags.String("alg", "", "algorithm of a key that is added: HS512, EdDSA, ES256 or RS256 (default: that of the active key; HS512 where there is no file)")
	var lifetime time.Duration
	durationFlag(flags, &lifetime, "refresh-ttl", defaultRefreshTTL, "how long a retired key verifies: the -refresh-ttl of the servers, or a client's if that is longer")
	now := flags.Bool("now", false, "remove a key that is retired at once, with all tokens it has signed: for one that has leaked")
	if err := parseFlags(flags, arguments, keysUsage+"\nFlags:\n", stderr); err != nil {
		return err
	}
	file := tokens.KeyFile{Path: *path, Logger: slog.New(slog.NewTextHandler(stderr, nil))}
	const commands = "list, add, activate KID, retire KID (-help explains)"
	command, id := flags.Arg(0), flags.Arg(1)
	wanted := 1
	switch command {
	case "list", "add":
	case "activate", "retire":
		wanted = 2
	case "":
		return errors.New("keys: a command is missing: one of " + commands)
	default:
		return fmt.Errorf("keys: unknown command %s: the commands are %s", shown(command), commands)
	}
	switch {
	case flags.NArg() > wanted && strings.HasPrefix(flags.Arg(wanted), "-"):
		return fmt.Errorf("keys: flags such as %s stand before %s", flags.Arg(wanted), command)
	case flags.NArg() != wanted:
		return fmt.Errorf("keys: wrong number of arguments for %s: the commands are %s", command, commands)
	case lifetime <= 0:
		return fmt.Errorf("keys: -refresh-ttl %v: must be more than 0", lifetime)
	}
	switch command {
	case "list":
		return listKeys(file, stdout)
	case "add":
		key, err := file.Add(tokens.Algorithm(*algorithm))
		if err == nil {
			fmt.Fprintf(stdout, "added %v\n", key)
		}
		return err
	case "activate":
		return file.Activate(id, lifetime)
	}
	if *now { // the command is retire
		return file.Remove(id)
	}
	return file.Retire(id, lifetime)
}

func listKeys(file tokens.KeyFile, stdout io.Writer) error {
	file.VerifyOnly = true // a file of public keys can be listed too
	keyring, err := tokens.OpenKeyring(file)
	if err != nil {
		return err
	}
	for _, line := range keyring.Describe() {
		fmt.Fprintln(stdout, line)
	}
	return nil
}
