package mail

import (
	"context"
	"log/slog"
)

// LogSender writes mails to the log instead of sending them. It is for development: the
// log then holds addresses and codes, so whoever reads it can take over accounts.
type LogSender struct {
	// Logger is where the mails go. The default is slog.Default().
	Logger *slog.Logger
}

// Send logs the whole message as a warning with the name mail_logged.
func (s LogSender) Send(ctx context.Context, message Message) error {
	logger := s.Logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.WarnContext(ctx, "mail_logged",
		"warning", "mails go to this log, codes included, and to nobody else",
		"to", message.To, "subject", message.Subject, "text", message.Text)
	return nil
}
