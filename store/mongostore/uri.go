package mongostore

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// location holds the parts of a connection string that messages and the choice of the
// database need. The string is parsed strictly before the driver sees it. Otherwise, if a
// password contains a "/" that is not encoded, the driver would take part of the password
// for a host, and its messages would show it.
type location struct {
	hosts, database string
	noJournal       bool // whether the string says journal=false
	// secrets are the user name, the password and the values of options, both encoded
	// and decoded.
	secrets []string
}

// None of these texts repeats a part of the connection string.
var (
	errScheme   = errors.New("a connection string must begin with mongodb:// or mongodb+srv://")
	errHosts    = errors.New("the hosts of the connection string cannot be parsed: write host or host:port, with commas between several; " + howToEncode)
	errEncoding = errors.New("the connection string cannot be parsed: " + howToEncode)
	errDatabase = errors.New("the connection string names no database: add its name after the hosts, as in mongodb://localhost/oauthsv")
	errName     = errors.New("the name of the database in the connection string contains a character that is not allowed; " + howToEncode)
	errOptions  = errors.New("the options of the connection string cannot be parsed: write name=value, with & between several; " + howToEncode)
)

const howToEncode = "percent-encode / ? # @ : and % in the user name, the password and options (%2F %3F %23 %40 %3A %25)"

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
	// An "@" here means that the supposed end of the hosts is a character of the
	// password.
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

// plainOptions have values that are no secrets and make messages clearer.
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

// secret adds a part of the connection string to the secrets. It reports whether the part can
// be decoded.
func (l *location) secret(text string, decode func(string) (string, error)) bool {
	decoded, err := decode(text)
	for _, one := range []string{text, decoded} {
		if one != "" && !slices.Contains(l.secrets, one) {
			l.secrets = append(l.secrets, one)
		}
		// The driver may quote a single part of NAME:value,OTHER:value.
		for part := range strings.FieldsFuncSeq(one, func(r rune) bool { return r == ',' || r == ':' }) {
			if part != one {
				l.secrets = append(l.secrets, part)
			}
		}
	}
	return err == nil
}

// redact returns an error without secrets in its text. The driver quotes hosts, options and
// values, and any of them may contain a secret. If the text has to change, the result wraps
// no other error than that of a context.
func (l *location) redact(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	// The longest secret comes first, because a shorter one may be part of it.
	secrets := slices.SortedFunc(slices.Values(l.secrets), func(a, b string) int { return len(b) - len(a) })
	for _, secret := range secrets {
		pattern := `(?i)` + regexp.QuoteMeta(secret)
		if len(secret) < 4 { // short ones occur in the middle of words
			pattern = `(?i)(^|\W)` + regexp.QuoteMeta(secret) + `($|\W)`
			for range 2 { // once leaves the second of two with one sign between them
				text = regexp.MustCompile(pattern).ReplaceAllString(text, "$1***$2")
			}
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
