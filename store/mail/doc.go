// Package mail sends the mails of package store. A [Queue] makes each mail from a
// template on another goroutine, and gives it to a [Sender]. If that fails, it tries
// again later. [SMTP] is the usual Sender. A Sender has one method, so any mail service
// fits:
//
//	sender, err := mail.NewSMTP(mail.SMTPConfig{
//		URL:  os.Getenv("SMTP_URL"), // smtp://user:password@smtp.example.com:587
//		From: "Example <no-reply@example.com>",
//	})
//	...
//	queue, err := mail.NewQueue(mail.Config{Sender: sender, Service: "Example"})
//	...
//	defer queue.Close(ctx) // sends what is still queued
//
// The queue lives in memory. If the process crashes, the mails in it are lost, and users
// ask again. A mail can arrive twice if the connection breaks after the server has taken
// the mail, and before its answer comes.
//
// What strangers write into a request cannot become a header, a line or a link of a mail:
// see [TemplateData]. Logs of this package hold no code, no password and no address. Only
// [LogSender] writes whole mails.
package mail
