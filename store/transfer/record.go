package transfer

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/oauthsv/oauthsv/store"
)

// Record is an account on its way. In JSON lines, a member that is not known is an error: a
// misspelt password_hash would make an account without a password.
type Record struct {
	// ID is the account's id, 24 hexadecimal digits. If it is empty, the account gets a
	// new one.
	ID    string `json:"account_id,omitempty"`
	Name  string `json:"name"`
	Email string `json:"email"`
	Phone string `json:"phone,omitempty"`
	// PasswordHash is a hash that package store/password can verify. SHA224 is a bare
	// SHA-224 digest of the password, in hexadecimal digits. An account with neither has
	// no password.
	PasswordHash string   `json:"password_hash,omitempty"`
	SHA224       string   `json:"sha224,omitempty"`
	Groups       []string `json:"groups,omitempty"`
	Disabled     bool     `json:"disabled,omitzero"`
	// The times are those of store.Account. If one is left out, it is the time of the
	// import.
	Created    time.Time `json:"created,omitzero"`
	Modified   time.Time `json:"modified,omitzero"`
	LastAction time.Time `json:"last_action,omitzero"`
}

func recordOf(account *store.Account) Record {
	return Record{
		ID: account.ID.Hex(), Name: account.Name, Email: account.Email, Phone: account.Phone,
		PasswordHash: account.PasswordHash, Groups: account.Groups, Disabled: account.Disabled,
		Created: account.Created, Modified: account.Modified, LastAction: account.LastAction,
	}
}

// account returns the account that the record describes, but for a bare digest.
func (r *Record) account() (store.NewAccount, error) {
	wanted := store.NewAccount{
		Name: r.Name, Email: r.Email, Phone: r.Phone, PasswordHash: r.PasswordHash, Groups: r.Groups, Disabled: r.Disabled,
		NoPassword: r.PasswordHash == "" && r.SHA224 == "",
		Created:    r.Created, Modified: r.Modified, LastAction: r.LastAction,
	}
	if r.PasswordHash != "" && r.SHA224 != "" {
		return wanted, errors.New("password_hash and sha224 cannot be combined")
	}
	if err := cmp.Or(checkTime("created", r.Created), checkTime("modified", r.Modified), checkTime("last_action", r.LastAction)); err != nil {
		return wanted, err
	}
	if r.ID == "" {
		return wanted, nil
	}
	id, err := store.ParseID(r.ID)
	if err != nil {
		return wanted, fmt.Errorf("account_id: %w", err)
	}
	if id == store.NilID { // to Create this means a new id
		return wanted, errors.New("account_id: must not be zero")
	}
	wanted.ID = id
	return wanted, nil
}

// checkTime refuses a time that JSON cannot hold: no list of accounts could show the account.
func checkTime(name string, t time.Time) error {
	if year := t.UTC().Year(); year < 1 || year > 9999 {
		return errors.New(name + ": must be in the years 1 to 9999, in UTC")
	}
	return nil
}

// maxLine bounds a line of JSON, in bytes.
const maxLine = 1 << 20

// ReadLines reads records from JSON lines. A line that is no record is an error of its
// place, and the lines after it are read all the same. Empty lines are skipped, but counted:
// the n-th line has the number n. A byte order mark before the first line is skipped too.
func ReadLines(from io.Reader) iter.Seq2[Numbered, error] {
	return func(yield func(Numbered, error) bool) {
		lines := bufio.NewReaderSize(from, 64<<10)
		for number := 1; ; number++ {
			line, tooLong, end := readLine(lines)
			if end != nil && end != io.EOF {
				yield(Numbered{Number: number}, fmt.Errorf("%w: %w", ErrSource, end))
				return
			}
			if number == 1 {
				line = bytes.TrimPrefix(line, []byte("\ufeff"))
			}
			if line = bytes.TrimSpace(line); len(line) > 0 {
				record := Numbered{Number: number}
				var err error
				if tooLong {
					err = fmt.Errorf("the line is longer than %d bytes", maxLine)
				} else if err = json.Unmarshal(line, &record.Record, json.RejectUnknownMembers(true)); err != nil || line[0] != '{' { // null is an empty record to json
					err = reason(line, err)
				}
				if !yield(record, err) {
					return
				}
			}
			if end == io.EOF {
				return
			}
		}
	}
}

// reason says why a line is no record. It repeats nothing of the line, which may hold a hash.
func reason(line []byte, err error) error {
	semantic := new(json.SemanticError)
	switch {
	case line[0] != '{':
		return errors.New("the line is no JSON object")
	case !utf8.Valid(line):
		return errors.New("the line is not UTF-8")
	case errors.Is(err, jsontext.ErrDuplicateName):
		return errors.New("the line holds a member twice")
	case errors.Is(err, json.ErrUnknownName):
		return errors.New("the line holds a member that is not known: see transfer.Record for those that are")
	case !errors.As(err, &semantic):
		return errors.New("the line is no JSON")
	}
	// The first name on the way is a member of Record: values of others are not looked at.
	for name := range semantic.JSONPointer.Tokens() {
		return errors.New(name + " has the wrong type or form")
	}
	return errors.New("the line is no record of an account")
}

// ErrSource means that the source of an import failed in the middle.
var ErrSource = errors.New("transfer: reading the source")

// Numbered is a record and its place in the source.
type Numbered struct {
	Record
	// Number counts from 1.
	Number int
}

// readLine reads a line. Of a line that is too long it returns the
// beginning.
func readLine(from *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		part, err := from.ReadSlice('\n')
		if room := maxLine - len(line); len(part) > room+1 {
			tooLong = true
			part = part[:max(room, 0)]
		}
		line = append(line, part...)
		if err == bufio.ErrBufferFull {
			continue
		}
		return line, tooLong, err
	}
}
