package smtptest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// session is one connection.
type session struct {
	server   *Server
	conn     *smtp.Conn
	loggedIn bool
	message  Message
	// drop makes Reset close the connection.
	drop bool
}

func (s *session) behavior() (Behavior, chan struct{}) {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	return s.server.behavior, s.server.changed
}

func (s *session) AuthMechanisms() []string {
	if s.server.options.User == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if behavior, _ := s.behavior(); behavior == RepeatLogin {
			in64 := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: fmt.Sprintf("no %s %s %s", user, password, in64)}
		}
		if user != s.server.options.User || password != s.server.options.Password {
			return smtp.ErrAuthFailed
		}
		s.loggedIn = true
		return nil
	}), nil
}

func (s *session) Mail(from string, options *smtp.MailOptions) error {
	if s.server.options.User != "" && !s.loggedIn {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Authentication required"}
	}
	s.message = Message{From: from, UTF8: options.UTF8}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	behavior, changed := s.behavior()
	switch behavior {
	case Refuse:
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "<" + to + "> is unknown here"}
	case RefuseForNow:
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "try " + to + " later"}
	case Slow:
		<-changed
	}
	s.message.To = append(s.message.To, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	behavior, _ := s.behavior()
	if behavior == DropInData {
		_, _ = io.CopyN(io.Discard, r, 10)
		_ = s.conn.Conn().Close()
		return errors.New("dropped")
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if behavior == RefuseData {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "looks like spam"}
	}
	message := s.message
	message.Data = data
	if s.server.options.Received != nil {
		if err := s.server.options.Received(message); err != nil {
			return err
		}
	}
	s.server.mu.Lock()
	s.server.messages = append(s.server.messages, message)
	close(s.server.arrived)
	s.server.arrived = make(chan struct{})
	s.server.mu.Unlock()
	s.drop = behavior == DropAfterReply
	if behavior == DropReply {
		_ = s.conn.Conn().Close()
	}
	return nil
}

// Reset is also called after the answer to a message.
func (s *session) Reset() {
	s.message = Message{}
	if s.drop {
		_ = s.conn.Conn().Close()
	}
}

func (s *session) Logout() error { return nil }
