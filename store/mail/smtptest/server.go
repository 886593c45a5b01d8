package smtptest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// Options configure a [Server]. The zero value offers STARTTLS, and wants no login.
type Options struct {
	// Addr is where the server listens. The default is 127.0.0.1:0.
	Addr string
	// User and Password are what clients must log in with. Without a User, the server
	// offers no login.
	User, Password string
	// TLS says how clients get to TLS. The default is StartTLS.
	TLS TLS
	// WrongHost makes the certificate that of another host.
	WrongHost bool
	// UTF8 makes the server offer SMTPUTF8.
	UTF8 bool
	// Received is called with each message that the server takes, before it answers. If
	// it returns an error, the server refuses the message.
	Received func(Message) error
}

// TLS says how clients get to TLS.
type TLS int

// The ways to TLS.
const (
	StartTLS TLS = iota
	// ImplicitTLS means TLS from the first byte, the scheme smtps.
	ImplicitTLS
	// NoTLS means that STARTTLS is not offered, and that logins work in clear.
	NoTLS
)

// Behavior is what the server does with a message.
type Behavior int

// The behaviors.
const (
	// Accept takes the message.
	Accept Behavior = iota
	// Refuse answers RCPT with 550, in a text that repeats the address.
	Refuse
	// RefuseData answers the end of the message with 554.
	RefuseData
	// RefuseForNow answers RCPT with 451, in a text that repeats the address.
	RefuseForNow
	// Slow does not answer RCPT until the behavior changes or the server closes.
	Slow
	// DropInData closes the connection in the middle of the message.
	DropInData
	// DropReply takes the message, and closes the connection instead of an answer.
	DropReply
	// DropAfterReply takes the message, answers, and closes the connection before QUIT.
	DropAfterReply
	// RepeatLogin refuses every login, in a text that repeats user and password.
	RepeatLogin
)

// Message is what the server took.
type Message struct {
	From string
	To   []string
	// UTF8 reports whether the client asked for SMTPUTF8.
	UTF8 bool
	// Data is the message as it came, with headers.
	Data []byte
}

// Server is an SMTP server. All methods are safe for concurrent use.
type Server struct {
	options     Options
	server      *smtp.Server
	listener    net.Listener
	certificate *tls.Certificate
	served      chan error
	closing     sync.Once

	mu          sync.Mutex
	behavior    Behavior
	changed     chan struct{} // closed when the behavior changes
	messages    []Message
	arrived     chan struct{} // closed when a message arrives
	clear       bytes.Buffer
	connections int
	open        map[*recordingConn]struct{}
}

// Start runs a server until the test ends.
func Start(t testing.TB, options Options) *Server {
	t.Helper()
	server, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// New runs a server until it is closed.
func New(options Options) (*Server, error) {
	s := &Server{options: options, served: make(chan error, 1), changed: make(chan struct{}), arrived: make(chan struct{}), open: make(map[*recordingConn]struct{})}
	s.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{server: s, conn: c}, nil
	}))
	s.server.Domain = "smtptest.example"
	s.server.ErrorLog = log.New(io.Discard, "", 0)
	s.server.AllowInsecureAuth = options.TLS == NoTLS
	s.server.EnableSMTPUTF8 = options.UTF8
	s.server.MaxMessageBytes = 1 << 20
	listener, err := net.Listen("tcp", cmp.Or(options.Addr, "127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	s.listener = &recordingListener{listener, s}
	if options.TLS != NoTLS {
		hosts := []string{"127.0.0.1", "::1", "localhost"}
		if options.WrongHost {
			hosts = []string{"other.example"}
		}
		certificate, err := newCertificate(hosts...)
		if err != nil {
			return nil, errors.Join(err, listener.Close())
		}
		s.certificate = &certificate
		config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
		if options.TLS == ImplicitTLS {
			s.listener = tls.NewListener(s.listener, config)
		} else {
			s.server.TLSConfig = config
		}
	}
	go func() { s.served <- s.server.Serve(s.listener) }()
	return s, nil
}

// Close ends all connections and the server, and waits until all its goroutines have ended.
// Calls after the first do nothing.
func (s *Server) Close() (err error) {
	s.closing.Do(func() {
		s.Behave(Accept) // lets slow sessions go on
		err = s.listener.Close()
		if served := <-s.served; !errors.Is(served, net.ErrClosed) {
			err = errors.Join(err, served)
		}
		// smtp.Server.Close would race with a client that begins TLS.
		s.mu.Lock()
		for conn := range s.open {
			_ = conn.Conn.Close()
		}
		s.mu.Unlock()
		if ended := s.server.Shutdown(context.Background()); !errors.Is(ended, net.ErrClosed) {
			err = errors.Join(err, ended)
		}
	})
	return err
}

// Address returns host and port.
func (s *Server) Address() string { return s.listener.Addr().String() }

// URL returns the URL of the server, with user and password.
func (s *Server) URL() string {
	location := url.URL{Scheme: "smtp", Host: s.Address()}
	switch s.options.TLS {
	case ImplicitTLS:
		location.Scheme = "smtps"
	case NoTLS:
		location.RawQuery = "starttls=off"
	}
	if s.options.User != "" {
		location.User = url.UserPassword(s.options.User, s.options.Password)
	}
	return location.String()
}

// Behave changes what the server does from now on.
func (s *Server) Behave(behavior Behavior) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behavior = behavior
	close(s.changed)
	s.changed = make(chan struct{})
}

// Messages returns all messages until now.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.messages...)
}

// Wait waits until the server has taken n messages, and returns all of them.
func (s *Server) Wait(ctx context.Context, n int) ([]Message, error) {
	for {
		s.mu.Lock()
		arrived := s.arrived
		enough := len(s.messages) >= n
		s.mu.Unlock()
		if enough {
			return s.Messages(), nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return s.Messages(), ctx.Err()
		}
	}
}

// Connections returns how many connections there were until now.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections
}

// Open returns how many connections are open now.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Wire returns the bytes that clients sent, as somebody between them and the server sees
// them.
func (s *Server) Wire() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.clear.Bytes())
}

// recordingListener writes down what comes over its connections.
type recordingListener struct {
	net.Listener
	server *Server
}

func (l *recordingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	recording := &recordingConn{conn, l.server}
	l.server.mu.Lock()
	l.server.connections++
	l.server.open[recording] = struct{}{}
	l.server.mu.Unlock()
	return recording, nil
}

type recordingConn struct {
	net.Conn
	server *Server
}

func (c *recordingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.server.mu.Lock()
	c.server.clear.Write(p[:n])
	c.server.mu.Unlock()
	return n, err
}

func (c *recordingConn) Close() error {
	c.server.mu.Lock()
	delete(c.server.open, c)
	c.server.mu.Unlock()
	return c.Conn.Close()
}
