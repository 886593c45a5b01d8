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
	flags.SetOutput(io.Discard)
	path := flags.String("key-file", cmp.Or(getenv("OAUTHSV_KEY_FILE"), "oauthsv.key"), "the key file (environment: OAUTHSV_KEY_FILE)")
	algorithm := flags.String("alg", string(tokens.HS512), "algorithm of a key that is added: HS512, EdDSA, ES256 or RS256")
	lifetime := flags.Duration("refresh-ttl", defaultRefreshTTL, "how long a retired key verifies: the -refresh-ttl of the servers, or a client's if that is longer")
	now := flags.Bool("now", false, "remove a key that is retired at once, with all tokens it has signed: for one that has leaked")
	err := flags.Parse(arguments)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stderr, keysUsage, "\nFlags:\n")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return err
	}
	if err != nil {
		return fmt.Errorf("keys: %w (-help lists the flags)", err)
	}
	file := tokens.KeyFile{Path: *path}
	command, id := flags.Arg(0), flags.Arg(1)
	needsID := command == "activate" || command == "retire"
	switch {
	case flags.NArg() > 2, needsID != (flags.NArg() == 2):
		return errors.New("keys: one of list, add, activate KID, retire KID is expected behind the flags (-help explains)")
	case *lifetime <= 0:
		return errors.New("keys: -refresh-ttl must be positive")
	}
	if err := tokens.CheckKeyFileMode(*path); errors.Is(err, tokens.ErrKeyFileMode) {
		fmt.Fprintln(stderr, "warning:", err)
	}
	switch command {
	case "list":
		return listKeys(*path, stdout)
	case "add":
		key, err := file.Add(tokens.Algorithm(*algorithm))
		if err == nil {
			fmt.Fprintf(stdout, "added %v\n", key)
		}
		return err
	case "activate":
		return file.Activate(id, *lifetime)
	case "retire":
		if *now {
			*lifetime = 0
		}
		return file.Retire(id, *lifetime)
	}
	return fmt.Errorf("keys: unknown command %q (-help explains)", command)
}

func listKeys(path string, stdout io.Writer) error {
	keys, err := tokens.LoadKeys(path)
	if err != nil {
		return err
	}
	keyring, err := tokens.NewKeyring(keys...)
	if err != nil {
		return err
	}
	for _, line := range descriptions(keyring) {
		fmt.Fprintln(stdout, line)
	}
	return nil
}

func describe(key, active *tokens.Key) string {
	state := cmp.Or(string(key.State()), "verifies")
	if key == active {
		state = string(tokens.Active)
	}
	text := fmt.Sprintf("%s %s %s", key.ID(), key.Algorithm(), state)
	if until := key.VerifyUntil(); !until.IsZero() {
		text += " until " + until.UTC().Format(time.RFC3339)
	}
	return text
}

// signingKeyring makes a keyring of a key file's keys, of which one must be able to
// sign.
func signingKeyring(path string, keys []*tokens.Key) (*tokens.Keyring, error) {
	keyring, err := tokens.NewKeyring(keys...)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	if keyring.Active() == nil {
		return nil, fmt.Errorf("key file %s: none of its keys can sign: a private key or a secret is needed, not a public key", path)
	}
	return keyring, nil
}

// warnOfKeyFileMode tells the operator of a key file that others can read. That is
// no reason to stop: the keys are as good as before, and users are logged in.
func warnOfKeyFileMode(path string, logger *slog.Logger) {
	if err := tokens.CheckKeyFileMode(path); errors.Is(err, tokens.ErrKeyFileMode) {
		logger.Warn("others can read or change the key file, and so sign tokens", "error", err)
	}
}

// reloadKeys takes a changed key file over and says what has changed. A broken
// file leaves the old keys in force.
func reloadKeys(keyring *tokens.Keyring, path string, logger *slog.Logger) {
	keys, err := tokens.LoadKeys(path)
	if err == nil {
		_, err = signingKeyring(path, keys)
	}
	warnOfKeyFileMode(path, logger)
	before := descriptions(keyring)
	if err == nil {
		err = keyring.Replace(keys...)
	}
	if err != nil {
		logger.Error("the key file is not usable; the old keys stay in force", "error", err)
		return
	}
	after := descriptions(keyring)
	logger.Info("reloaded the keys", "file", path, "new", less(after, before), "gone", less(before, after))
}

func descriptions(keyring *tokens.Keyring) (lines []string) {
	for _, key := range keyring.Keys() {
		lines = append(lines, describe(key, keyring.Active()))
	}
	return lines
}

// less is what is in one list and not in the other.
func less(these, those []string) string {
	there := make(map[string]bool)
	for _, line := range those {
		there[line] = true
	}
	var rest []string
	for _, line := range these {
		if !there[line] {
			rest = append(rest, line)
		}
	}
	return strings.Join(rest, ", ")
}
