package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mail"
)

// mailTimeout is how long the end of the server waits for mails that are queued. Docker, for
// example, kills a process 10 seconds after it has asked it to end.
const mailTimeout = 8 * time.Second

// openMail starts to send mails, if mail is configured. Otherwise it returns a nil Mailer.
func openMail(s *settings, logger *slog.Logger) (_ store.Mailer, closeMail func(), err error) {
	var sender mail.Sender
	switch {
	case s.smtpURL != "" && s.mailToLog:
		return nil, nil, errors.New("-mail-to-log and OAUTHSV_SMTP_URL cannot be combined: mails go to one of them")
	case s.smtpURL != "":
		sender, err = mail.NewSMTP(mail.SMTPConfig{URL: s.smtpURL, From: s.mailFrom})
	case s.mailToLog:
		sender = mail.LogSender{Logger: logger}
	default:
		return nil, func() {}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("OAUTHSV_SMTP_URL (the URL), -mail-from or else -root-email (From): %w", err)
	}
	warnOfSender(s, logger)
	queue, err := mail.NewQueue(mail.Config{Sender: sender, Service: serviceName(s.issuer), Logger: logger})
	if err != nil {
		return nil, nil, fmt.Errorf("-issuer (its host is the Service): %w", err)
	}
	return queue, func() {
		if waiting := queue.Counts().Waiting; waiting > 0 {
			logger.Info("waiting for mails that are not sent yet", "count", waiting, "timeout", mailTimeout)
		}
		ctx, cancel := context.WithTimeout(context.Background(), mailTimeout)
		defer cancel()
		if err := queue.Close(ctx); err != nil {
			logger.Warn("ended before all mails were sent", "error", err)
		}
	}, nil
}

// warnOfSender warns of the default sender: a server elsewhere refuses its mails, or takes them
// for spam.
func warnOfSender(s *settings, logger *slog.Logger) {
	relay, err := url.Parse(s.smtpURL)
	if err == nil && relay.Host != "" && !isLoopback(relay.Host) && strings.HasSuffix(s.mailFrom, "@localhost") {
		logger.Warn("mails come from an address that no other server can answer: set -mail-from", "from", s.mailFrom)
	}
}

// serviceName is what mails call this server: the host of the issuer.
func serviceName(issuer string) string {
	location, err := url.Parse(issuer)
	if err != nil {
		return "" // mails then say "this service"
	}
	return location.Hostname()
}
