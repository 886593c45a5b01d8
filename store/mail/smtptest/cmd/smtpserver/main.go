// Command smtpserver is an SMTP server for scripts. It takes every message, and writes each
// to a file of its own: DIR/0001.eml, DIR/0002.eml and so on. A file is complete as soon as
// it is there. Once it listens, the server prints one line: listening on HOST:PORT. It ends
// with SIGINT or SIGTERM.
//
// With -starttls it makes a certificate for the loopback addresses and localhost, and writes
// it to DIR/ca.pem for clients: Go programs on Linux trust it with SSL_CERT_FILE=DIR/ca.pem.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/oauthsv/oauthsv/store/mail/smtptest"
)

func main() {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	if err := run(os.Args[1:], os.Stdout, os.Stderr, interrupted); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "smtpserver:", err)
		os.Exit(1)
	}
}

// run serves until a signal comes.
func run(arguments []string, stdout, stderr io.Writer, interrupted <-chan os.Signal) error {
	flags := flag.NewFlagSet("smtpserver", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:0", "address to listen on; port 0 picks a free one")
	user := flags.String("user", "", "user that clients must log in with; none by default")
	password := flags.String("password", "", "password of that user")
	starttls := flags.Bool("starttls", false, "offer STARTTLS, and take logins only after it")
	directory := flags.String("dir", "", "directory for the messages; required")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *directory == "" || flags.NArg() > 0 {
		return errors.New("-dir is required, and nothing but flags is allowed")
	}
	if (*user == "") != (*password == "") {
		return errors.New("-user and -password go together")
	}
	if err := os.MkdirAll(*directory, 0o700); err != nil {
		return err
	}
	files := &files{directory: *directory}
	options := smtptest.Options{Addr: *addr, User: *user, Password: *password, TLS: smtptest.NoTLS, UTF8: true, Received: files.add}
	if *starttls {
		options.TLS = smtptest.StartTLS
	}
	server, err := smtptest.New(options)
	if err != nil {
		return err
	}
	if certificate := server.CertificatePEM(); certificate != nil {
		if err := files.write("ca.pem", certificate); err != nil {
			return errors.Join(err, server.Close())
		}
	}
	fmt.Fprintf(stdout, "listening on %s\n", server.Address())
	<-interrupted
	return server.Close()
}

// files writes messages to numbered files.
type files struct {
	directory string
	mu        sync.Mutex
	last      int
}

// add takes the next number that is free: the directory may hold files of an earlier run.
func (f *files) add(message smtptest.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		f.last++
		name := fmt.Sprintf("%04d.eml", f.last)
		if _, err := os.Lstat(filepath.Join(f.directory, name)); errors.Is(err, os.ErrNotExist) {
			return f.write(name, message.Data)
		}
	}
}

// write makes the file appear whole.
func (f *files) write(name string, data []byte) error {
	temporary, err := os.CreateTemp(f.directory, ".part-*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(data)
	err = errors.Join(err, temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), filepath.Join(f.directory, name))
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
	}
	return err
}
