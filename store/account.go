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

	// Format is the version of the record's layout. Records without it have
	// version 1. See RecordFormat.
	Format int32 `bson:"format,omitempty" json:"-"`
	// Unknown holds the members of the record that this version of the package does
	// not know, because a newer version wrote them. A backend writes them back as
	// they are, so that two versions can run side by side during an upgrade.
	Unknown map[string]any `bson:",inline" json:"-"`
}

// RecordFormat is the version of the layout of an account's record that this
// package writes. A change that older programs can ignore keeps the version: they
// preserve members they do not know. A change that they would get wrong raises it,
// and an older program then answers [ErrUnavailable] for such a record.
const RecordFormat = 1

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

	// Generation starts at 1 and grows by 1 with each new pair of tokens.
	Generation int64 `bson:"generation"`
	// RotationID is random and new with each generation. A call that looks again,
	// because the reply to its write was lost, finds its own write by it.
	RotationID int64 `bson:"rotation_id"`
	// Used says that an access token of this generation has been accepted.
	Used bool `bson:"used"`
	// Recovered counts the generations since the last rotation that replaced one
	// whose reply was lost. RecoveredAt is when the latest of them was issued. Both
	// are zero where there was none.
	Recovered   int64     `bson:"recovered,omitempty"`
	RecoveredAt time.Time `bson:"recovered_at,omitempty"`

	Created time.Time `bson:"created"`
	// Rotated is the last rotation, at first the login.
	Rotated time.Time `bson:"rotated"`
	// Expires is the end of the session unless it is refreshed, in whole seconds.
	Expires time.Time `bson:"expires"`

	// Unknown is to the session what Account.Unknown is to the account.
	Unknown map[string]any `bson:",inline"`
}

// Proven is the generation whose refresh token was presented at the last rotation,
// 0 before the first one.
func (s *Session) Proven() int64 { return s.Generation - 1 - s.Recovered }

// Issued is when the current generation was issued.
func (s *Session) Issued() time.Time {
	if s.RecoveredAt.IsZero() {
		return s.Rotated
	}
	return s.RecoveredAt
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
