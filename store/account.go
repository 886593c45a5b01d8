package store

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/bson/primitive"
)

// ID is an account's ObjectID.
type ID = primitive.ObjectID

// NilID is the zero ID, which no account has.
var NilID = primitive.NilObjectID

var errID = errors.New("store: an account id is 24 lower-case hexadecimal digits")

// NewID makes a new ID.
func NewID() ID { return primitive.NewObjectID() }

// ParseID reads an ID as String writes it: 24 lower-case hexadecimal digits.
func ParseID(text string) (ID, error) {
	var id ID
	if len(text) != 2*len(id) {
		return NilID, errID
	}
	for i := range len(text) {
		if 'A' <= text[i] && text[i] <= 'F' { // a second spelling of the same id
			return NilID, errID
		}
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil {
		return NilID, errID
	}
	return id, nil
}

// Account is the record of a person or service that can log in.
//
// An *Account that this package hands out is a snapshot that goroutines share: it
// must not be changed. Inside [Backend.Update] it is the caller's own. The bson
// tags are the names in the record, in MongoDB as in a bolt file; JSON leaves out
// what is not for the eyes of others.
type Account struct {
	ID ID `bson:"_id" json:"account_id"`
	// Name is unique, prepared with PrepareName.
	Name string `bson:"name" json:"name"`
	// Email is the address as it was given, for mail to go to. EmailKey is its
	// form for comparison, unique, prepared with PrepareEmail.
	Email    string `bson:"email" json:"email"`
	EmailKey string `bson:"email_key" json:"-"`
	// Phone is optional and not unique.
	Phone string `bson:"phone,omitempty" json:"phone,omitempty"`
	// PasswordHash is empty where no password lets in.
	PasswordHash string `bson:"password_hash" json:"-"`
	// Groups is sorted.
	Groups   []string `bson:"groups" json:"groups"`
	Disabled bool     `bson:"disabled" json:"disabled"`

	// Times are in UTC, to the millisecond. LastAction is the last login, refresh,
	// or first use of what a refresh gave.
	Created    time.Time `bson:"created" json:"created"`
	Modified   time.Time `bson:"modified" json:"modified"`
	LastAction time.Time `bson:"last_action" json:"last_action"`

	Sessions []Session `bson:"sessions" json:"-"`
}

// Session is one login.
type Session struct {
	// ID is 128 random bits in base64url.
	ID string `bson:"id"`
	// ClientID is the client that logged in.
	ClientID string `bson:"client_id"`
	// UserAgent and Address say from where the login came, where the caller
	// chose to record it.
	UserAgent string `bson:"user_agent,omitempty"`
	Address   string `bson:"address,omitempty"`

	// Generation starts at 1 and grows by 1 with each rotation.
	Generation int64 `bson:"generation"`
	// RotationID is random and new with each rotation. It tells a rotation that
	// is tried again, after its reply was lost, from another caller's.
	RotationID int64 `bson:"rotation_id"`
	// Used says that an access token of this generation has been accepted.
	Used bool `bson:"used"`

	Created time.Time `bson:"created"`
	// Rotated is the last rotation, at first the login.
	Rotated time.Time `bson:"rotated"`
	// Expires is the end of the session unless it is refreshed, in whole seconds.
	Expires time.Time `bson:"expires"`
}

// Clone is a deep copy, which may be changed.
func (a *Account) Clone() *Account {
	clone := *a
	clone.Groups = slices.Clone(a.Groups)
	clone.Sessions = slices.Clone(a.Sessions)
	return &clone
}

// InGroup tells whether the account is in the group.
func (a *Account) InGroup(group string) bool {
	_, found := slices.BinarySearch(a.Groups, group)
	return found
}

// LogValue shows the ID alone, so that no log holds more of an account.
func (a *Account) LogValue() slog.Value { return slog.StringValue(a.ID.Hex()) }

// String is as careful as LogValue.
func (a *Account) String() string { return "account " + a.ID.Hex() }

// session is the live session with the id, nil where there is none.
func (a *Account) session(id string, now time.Time) *Session {
	for i := range a.Sessions {
		if a.Sessions[i].ID == id && a.Sessions[i].live(now) {
			return &a.Sessions[i]
		}
	}
	return nil
}

func (a *Account) removeSessions(remove func(*Session) bool) (removed bool) {
	before := len(a.Sessions)
	a.Sessions = slices.DeleteFunc(a.Sessions, func(s Session) bool { return remove(&s) })
	return len(a.Sessions) < before
}
