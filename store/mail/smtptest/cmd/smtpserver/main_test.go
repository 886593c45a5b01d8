package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oauthsv/oauthsv/store/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEachMessageBecomesAFile in the order of arrival, and a second run goes on counting.
func TestEachMessageBecomesAFile(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "mails")
	for runs := range 2 {
		for _, starttls := range []bool{false, true} {
			arguments, suffix := []string{"-dir", directory, "-user", "ann", "-password", "hunter2"}, "?starttls=off"
			if starttls {
				arguments, suffix = append(arguments, "-starttls"), ""
			}
			read, write := io.Pipe()
			interrupted, ended := make(chan os.Signal, 1), make(chan error, 1)
			go func() { ended <- run(arguments, write, io.Discard, interrupted) }()
			line, err := bufio.NewReader(read).ReadString('\n')
			require.NoError(t, err)
			address, found := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
			require.True(t, found, line)

			config := mail.SMTPConfig{URL: "smtp://ann:hunter2@" + address + suffix, From: "a@example.com"}
			if starttls {
				certificate, err := os.ReadFile(filepath.Join(directory, "ca.pem"))
				require.NoError(t, err)
				config.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
				require.True(t, config.TLS.RootCAs.AppendCertsFromPEM(certificate))
			}
			sender, err := mail.NewSMTP(config)
			require.NoError(t, err)
			require.NoError(t, sender.Send(t.Context(), mail.Message{To: "b@example.com", Subject: "Hello", Text: "ABC-DEF\n"}))
			interrupted <- os.Interrupt
			require.NoError(t, <-ended)
		}
		names, err := filepath.Glob(filepath.Join(directory, "*.eml"))
		require.NoError(t, err)
		require.Len(t, names, 2*(runs+1))
		for _, name := range names {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			assert.Contains(t, string(text), "\r\nABC-DEF\r\n")
		}
		assert.Equal(t, "0001.eml", filepath.Base(names[0]))
		parts, err := filepath.Glob(filepath.Join(directory, ".part-*"))
		require.NoError(t, err)
		assert.Empty(t, parts)
	}
}

func TestWrongFlagsAreRefused(t *testing.T) {
	for _, arguments := range [][]string{{}, {"-dir", "x", "y"}, {"-dir", "x", "-user", "ann"}, {"-dir", "x", "-password", "p"}, {"-nothing"}} {
		assert.Error(t, run(arguments, io.Discard, io.Discard, nil), "%v", arguments)
	}
}
