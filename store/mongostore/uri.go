package mongostore

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// location is what a connection string says, as far as messages and the choice of
// the database need it. It is read strictly before the driver sees the string: where
// a password holds a "/" that is not encoded, the driver would take a part of it for
// a host, and messages would show it.
type location struct {
	hosts, database string
	noJournal       bool // the string asks for journal=false
	// secrets are user name, password and values of options, as they stand in the
	// string and as they are meant.
	secrets []string
}

// No text of these repeats any part of the string.
var (
	errScheme   = errors.New("a connection string begins with mongodb:// or mongodb+srv://")
	errHosts    = errors.New("the hosts of the connection string cannot be read: it takes host or host:port, several with commas in between; " + howToEncode)
	errEncoding = errors.New("the connection string cannot be read: " + howToEncode)
	errDatabase = errors.New("the connection string names no database: put it behind the hosts, as in mongodb://localhost/oauthsv")
	errName     = errors.New("the name of the database in the connection string holds a character that it must not; " + howToEncode)
	errOptions  = errors.New("the options of the connection string cannot be read: it takes name=value, several with & in between; " + howToEncode)
)

const howToEncode = "percent-encode / ? # @ : and % where the user name, the password or an option holds them (%2F %3F %23 %40 %3A %25)"

func parseURI(uri string) (*location, error) {
	rest, found := strings.CutPrefix(uri, "mongodb://")
	if !found {
		if rest, found = strings.CutPrefix(uri, "mongodb+srv://"); !found {
			return nil, errScheme
		}
	}
	authority, path := rest, ""
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		authority, path = rest[:end], rest[end:]
	}
	// An "@" out of place says that what was taken for the end of the hosts is a
	// character of the password.
	if strings.Contains(path, "@") {
		return nil, errEncoding
	}
	l := &location{hosts: authority}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		l.hosts = authority[at+1:]
		user, password, _ := strings.Cut(authority[:at], ":")
		for _, part := range []string{user, password} {
			if strings.ContainsAny(part, "@:") || !l.secret(part, url.PathUnescape) {
				return nil, errEncoding
			}
		}
	}
	if !hostsPattern.MatchString(l.hosts) {
		return nil, errHosts
	}
	path, query, _ := strings.Cut(path, "?")
	if err := l.options(query); err != nil {
		return nil, err
	}
	var err error
	l.database, err = url.PathUnescape(strings.TrimPrefix(path, "/"))
	switch {
	case l.database == "" && err == nil:
		return nil, errDatabase
	case err != nil || strings.ContainsAny(l.database, "/\\. \"$*<>:|?\x00"):
		return nil, errName
	}
	return l, nil
}

var hostsPattern = func() *regexp.Regexp {
	const host = `(?:\[[0-9A-Fa-f:.%]+\]|[0-9A-Za-z_.%-]+)(?::[0-9]{1,5})?`
	return regexp.MustCompile(`^` + host + `(?:,` + host + `)*$`)
}()

// plainOptions have values that help with a message and are nobody's secret.
var plainOptions = []string{"replicaset", "authsource", "readpreference", "readconcernlevel", "tlscafile", "tlscertificatekeyfile"}

var plainValue = regexp.MustCompile(`^(?:[0-9]{1,9}|true|false|majority)$`)

func (l *location) options(query string) error {
	for option := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, found := strings.Cut(option, "=")
		decoded, err := url.QueryUnescape(name)
		if !found || err != nil {
			return errOptions
		}
		if lower := strings.ToLower(decoded); (lower == "journal" || lower == "j") && value == "false" {
			l.noJournal = true
		}
		if slices.Contains(plainOptions, strings.ToLower(decoded)) || plainValue.MatchString(value) {
			continue
		}
		if !l.secret(value, url.QueryUnescape) {
			return errOptions
		}
	}
	return nil
}

// secret reports whether what stands in the string can be decoded.
func (l *location) secret(text string, decode func(string) (string, error)) bool {
	decoded, err := decode(text)
	for _, one := range []string{text, decoded} {
		if one != "" && !slices.Contains(l.secrets, one) {
			l.secrets = append(l.secrets, one)
		}
		// Of NAME:value,OTHER:value the driver may quote a part alone.
		for part := range strings.FieldsFuncSeq(one, func(r rune) bool { return r == ',' || r == ':' }) {
			if part != one {
				l.secrets = append(l.secrets, part)
			}
		}
	}
	return err == nil
}

// redact is an error without secrets. The driver quotes names of hosts, options and
// values; any of them may be, or hold, what must not be shown. Of an error that had
// to be changed no more is kept than whether the context ended it.
func (l *location) redact(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	// The longest first: a short one may be a part of it.
	secrets := slices.SortedFunc(slices.Values(l.secrets), func(a, b string) int { return len(b) - len(a) })
	for _, secret := range secrets {
		pattern := `(?i)` + regexp.QuoteMeta(secret)
		if len(secret) < 4 { // else it would be found in the middle of words
			pattern = `(?i)(^|\W)` + regexp.QuoteMeta(secret) + `($|\W)`
			text = regexp.MustCompile(pattern).ReplaceAllString(text, "$1***$2")
			continue
		}
		text = regexp.MustCompile(pattern).ReplaceAllString(text, "***")
	}
	text = strings.Join(strings.Fields(text), " ")
	if text == err.Error() {
		return err
	}
	hidden := &redactedError{text: text}
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, cause) {
			hidden.cause = cause
		}
	}
	return hidden
}

type redactedError struct {
	text  string
	cause error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.cause }
