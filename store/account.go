package store

import (
	"errors"
	"log/slog"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/bson/primitive"
)

// ID is an account's ObjectID.
type ID = primitive.ObjectID

// NilID is the zero ID. No account has it.
var NilID = primitive.NilObjectID

var errID = errors.New("store: an account id must be 24 lower-case hexadecimal digits")

// NewID returns a new ID.
func NewID() ID { return primitive.NewObjectID() }

// ParseID parses an ID from the form that ID.Hex returns: 24 lower-case hexadecimal
// digits.
func ParseID(text string) (ID, error) {
	var id ID
	if len(text) != 2*len(id) {
		return NilID, errID
	}
	for i := range id {
		high, low := hexDigits[text[2*i]], hexDigits[text[2*i+1]]
		if high|low == notHex {
			return NilID, errID
		}
		id[i] = high<<4 | low
	}
	return id, nil
}

const notHex = 255

// hexDigits holds the value of each lower-case hexadecimal digit, and notHex elsewhere. With a
// table, an id is parsed in a third of the time, and each request parses one: BenchmarkParseID.
var hexDigits = func() (values [256]byte) {
	for c := range values {
		values[c] = notHex
	}
	for value, c := range []byte("0123456789abcdef") {
		values[c] = byte(value)
	}
	return values
}()

// Account is the record of a person or service that can log in.
//
// Goroutines share each *Account that this package returns, so do not change it:
// change the copy that [Account.Clone] returns.
//
// The bson tags name the members of the record, in MongoDB and in a bolt file. The
// JSON form leaves out the password hash and the sessions. It is for the account's owner
// and for administrators.
type Account struct {
	ID ID `bson:"_id" json:"account_id"`
	// Name is unique, prepared with PrepareName.
	Name string `bson:"name" json:"name"`
	// Email is the address as the user wrote it. Send mail to it. EmailKey is the
	// form that is compared: unique, and prepared with PrepareEmail.
	Email    string `bson:"email" json:"email"`
	EmailKey string `bson:"email_key" json:"-"`
	// Phone is optional and not unique.
	Phone string `bson:"phone,omitempty" json:"phone,omitempty"`
	// PasswordHash is empty if the account has no password. Nobody can then log in
	// with one.
	PasswordHash string `bson:"password_hash" json:"-"`
	// CredentialsVersion is random and new with each change of the password or the
	// e-mail. A code that was mailed is good only for the version that it was made for.
	CredentialsVersion int64 `bson:"credentials_version,omitempty" json:"-"`
	// Groups is sorted and holds no group twice.
	Groups   []string `bson:"groups" json:"groups"`
	Disabled bool     `bson:"disabled" json:"disabled"`

	// Created, Modified and LastAction are in UTC, to the millisecond. Modified is
	// the last change of the account itself, such as a new password or group.
	// LastAction is the last login, the last refresh, or the first use of a token
	// from a refresh.
	Created    time.Time `bson:"created" json:"created"`
	Modified   time.Time `bson:"modified" json:"modified"`
	LastAction time.Time `bson:"last_action" json:"last_action"`

	Sessions []Session `bson:"sessions" json:"-"`

	// Format is the version of the record's layout, see RecordFormat. A record
	// without it has version 1.
	Format int32 `bson:"format,omitempty" json:"-"`
	// Unknown holds members of the record that a newer version of this package
	// wrote and this version does not know. A backend writes them back unchanged, so
	// that two versions can run side by side during an upgrade.
	Unknown map[string]any `bson:",inline" json:"-"`
}

// RecordFormat is the version of the layout of account records that this package
// writes. It grows only with a change that an older program would misread. The older
// program then returns [ErrUnavailable] for the record. A new member that older
// programs can ignore does not change the version, because they preserve members
// they do not know.
const RecordFormat = 1

// Session is one login.
type Session struct {
	// ID is 128 random bits in base64url.
	ID string `bson:"id"`
	// ClientID is the client that logged in.
	ClientID string `bson:"client_id"`
	// UserAgent and Address are what the caller of StartSession recorded about the
	// origin of the login. They may be empty.
	UserAgent string `bson:"user_agent,omitempty"`
	Address   string `bson:"address,omitempty"`

	// Generation starts at 1 and grows by 1 with each new pair of tokens.
	Generation int64 `bson:"generation"`
	// RotationID is random and new with each generation. When a call loses the reply
	// to its write and reads the record again, it recognizes its own write by it.
	RotationID int64 `bson:"rotation_id"`
	// Used reports whether an access token of this generation has been accepted.
	Used bool `bson:"used"`
	// LostReplies counts the lost replies since the last rotation: each one was made
	// good by a new generation. RecoveredAt is when the latest of these generations
	// was issued. Both are zero if no reply was lost.
	LostReplies int64     `bson:"recovered,omitempty"`
	RecoveredAt time.Time `bson:"recovered_at,omitempty"`

	Created time.Time `bson:"created"`
	// Rotated is the time of the last rotation, or of the login before the first
	// rotation.
	Rotated time.Time `bson:"rotated"`
	// Expires is when the session ends if it is not refreshed, in whole seconds.
	Expires time.Time `bson:"expires"`

	// Unknown holds members of the session that this version does not know, as
	// Account.Unknown does for the account.
	Unknown map[string]any `bson:",inline"`
}

// Proven returns the generation whose refresh token was presented at the last
// rotation, or 0 before the first rotation.
func (s *Session) Proven() int64 { return s.Generation - 1 - s.LostReplies }

// Issued returns the time at which the current generation was issued.
func (s *Session) Issued() time.Time {
	if s.RecoveredAt.IsZero() {
		return s.Rotated
	}
	return s.RecoveredAt
}

// Clone returns a copy that may be changed, except for the maps Unknown: the copy
// shares them with the original.
func (a *Account) Clone() *Account {
	clone := *a
	clone.Groups = slices.Clone(a.Groups)
	clone.Sessions = slices.Clone(a.Sessions)
	return &clone
}

// InGroup reports whether the account is in the group.
func (a *Account) InGroup(group string) bool {
	_, found := slices.BinarySearch(a.Groups, group)
	return found
}

// LogValue returns the ID alone, so that a log shows nothing else of the account.
func (a *Account) LogValue() slog.Value { return slog.StringValue(a.ID.Hex()) }

// String returns the word account and the ID, so that a printed account shows
// nothing else.
func (a *Account) String() string { return "account " + a.ID.Hex() }

// session returns the live session with the id, or nil if there is none.
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
