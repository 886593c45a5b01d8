package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mail"
)

// mailTimeout is how long the end of the server waits for mails that are queued.
const mailTimeout = 10 * time.Second

// openMail starts to send mails, if mail is configured. Otherwise it returns a nil Mailer.
func openMail(s *settings, logger *slog.Logger) (_ store.Mailer, closeMail func() error, err error) {
	var sender mail.Sender
	switch {
	case s.smtpURL != "" && s.mailToLog:
		return nil, nil, errors.New("-mail-to-log and OAUTHSV_SMTP_URL cannot be combined: mails go to one of them")
	case s.smtpURL != "":
		sender, err = mail.NewSMTP(mail.SMTPConfig{URL: s.smtpURL, From: s.mailFrom})
	case s.mailToLog:
		sender = mail.LogSender{Logger: logger}
	default:
		return nil, func() error { return nil }, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("OAUTHSV_SMTP_URL, -mail-from: %w", err)
	}
	queue, err := mail.NewQueue(mail.Config{Sender: sender, Service: serviceName(s.issuer), Logger: logger})
	if err != nil {
		return nil, nil, err
	}
	return queue, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), mailTimeout)
		defer cancel()
		return queue.Close(ctx)
	}, nil
}

// serviceName is what mails call this server: the host of the issuer.
func serviceName(issuer string) string {
	location, err := url.Parse(issuer)
	if err != nil {
		return "" // mails then say "this service"
	}
	return location.Hostname()
}
