package mail_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"testing/fstest"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mail"
)

// memory is a Sender that keeps messages. If answer is set, it decides first.
type memory struct {
	answer func(ctx context.Context, message mail.Message) error

	mu       sync.Mutex
	messages []mail.Message
}

func (m *memory) Send(ctx context.Context, message mail.Message) error {
	if m.answer != nil {
		if err := m.answer(ctx, message); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages = append(m.messages, message)
	return nil
}

func (m *memory) all() []mail.Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.messages)
}

// take returns the messages, and forgets them.
func (m *memory) take() []mail.Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.messages
	m.messages = nil
	return taken
}

// ready prepares the mail at once.
func ready(m *store.Mail) func(context.Context) (*store.Mail, error) {
	return func(context.Context) (*store.Mail, error) { return m, nil }
}

// logged keeps a log in memory.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type record struct {
	Level, Msg, Kind, Error, Reason string
	Tries, Count                    int
}

func (l *logged) records() (records []record) {
	decoder := json.NewDecoder(bytes.NewBufferString(l.String()))
	for {
		var r record
		if decoder.Decode(&r) != nil {
			return records
		}
		records = append(records, r)
	}
}

// find returns the error of the first record with the name, or nil if there is none.
func (l *logged) find(name string) error {
	for _, r := range l.records() {
		if r.Msg == name {
			return errors.New(r.Error)
		}
	}
	return nil
}

// files makes a file system of names and texts.
func files(texts map[string]string) fs.FS {
	made := fstest.MapFS{}
	for name, text := range texts {
		made[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return made
}
