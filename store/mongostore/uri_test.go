package mongostore_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store/mongostore"
)

// fully returns the text of an error and of all errors that it wraps.
func fully(err error) string {
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	var walk func(error)
	walk = func(err error) {
		if err == nil {
			return
		}
		text += " " + err.Error()
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			for _, one := range many.Unwrap() {
				walk(one)
			}
		}
		walk(errors.Unwrap(err))
	}
	walk(err)
	return text
}

// TestErrorsHoldNoSecrets checks many wrong connection strings.
func TestErrorsHoldNoSecrets(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	host := closed.Addr().String()
	require.NoError(t, closed.Close())
	const end = "/db?directConnection=true&serverSelectionTimeoutMS=50&connectTimeoutMS=50"
	const user = "zarquon" // a word that no message contains by itself

	encode := []string{ // the message must say what to do about these
		"S3/cretPw", "S3?cretPw", "S3@cretPw", "S3:cretPw", "53/cretPw", "53?cretPw", "cret%Pw", "cret%zzPw", "S3/cret?Pw@x", "cretPw%", "cretPw/", "cretPw?a=b",
	}
	others := []string{"S3#cretPw", "S3cretPw", "cret%2FPw", "cret%40Pw%25", "S3&cretPw", "S3=cretPw", "cret Pw", "cret\"Pw", "cret\x7fPw", "cret\nPw"}
	for i, password := range append(encode, others...) {
		for _, scheme := range []string{"mongodb://", "mongodb+srv://"} {
			if scheme == "mongodb+srv://" && i >= len(encode) {
				continue // it would ask the name server
			}
			uri := scheme + user + ":" + password + "@" + host + end
			_, err := mongostore.Open(t.Context(), uri, mongostore.Config{})
			require.Error(t, err, uri)
			assertSilent(t, uri, err, user, "cret", "Pw", "S3")
			if i < len(encode) {
				assert.ErrorContains(t, err, "percent-encode", uri)
			}
		}
	}
	for _, uri := range []string{
		"zarquon:cretPw@" + host + end,
		"http://zarquon:cretPw@" + host + end,
		"mongodb:zarquon:cretPw@" + host,
		"mongodb://zarquon:cretPw",
		"mongodb://zarquon:cretPw/db",
		"mongodb://zarquon:cretPw@/db",
		"mongodb://zarquon:cretPw@" + host,
		"mongodb://zarquon:cretPw@" + host + "/",
		"mongodb://zarquon:cretPw@" + host + "/%zz",
		"mongodb://zarquon:cretPw@" + host + "/db?timeoutMS=soon",
		"mongodb://zarquon:cretPw@" + host + "/db?timeoutMS=soon&appName=zarquon@cretPw",
		"mongodb://zarquon:cretPw@" + host + "/db?cretPw",
		"mongodb://zarquon:cretPw@" + host + "/db?w=cretPw%zz",
		"mongodb://zarquon:cretPw@" + host + "/db?cretPw%zz=1",
		"mongodb://zarquon:cretPw@" + host + "/db?tls=cretPw",
		"mongodb://zarquon@" + host + "/db?authMechanism=cretPw",
		"mongodb://" + host + "/db?tls=true&tlsCertificateKeyFile=/does/not/exist&tlsCertificateKeyFilePassword=cretPw",
		"mongodb://zarquon:x@" + host + "/db?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN=cretPw",
		"mongodb://zarquon:x@" + host + end + "&authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:cretPw",
		"mongodb://zarquon:x@" + host + end + "&authMechanism=GSSAPI&authMechanismProperties=SERVICE_NAME:x,cretPw:cretPw",
		// The driver quotes one of the two values.
		"mongodb://" + host + end + "&authMechanism=MONGODB-OIDC&authMechanismProperties=ENVIRONMENT:cretPw,TOKEN_RESOURCE:zarquon",
		"mongodb://" + host + ",zarquon:cretPw@" + host + end,
		"mongodb://zarquon:cretPw@[::1" + end,
		"mongodb://zarquon:cretPw@" + host + ":1:2" + end,
		"mongodb://zarquon:cretPw@ho st/db",
		"mongodb://zarquon:cretPw@\x00/db",
	} {
		_, err := mongostore.Open(t.Context(), uri, mongostore.Config{})
		require.Error(t, err, uri)
		assertSilent(t, uri, err, user, "cret", "Pw")
	}
}

// TestDriverThatQuotes checks errors in which the driver quotes the name of a host that has parts
// of the user name and the password. Open itself shows the hosts before that.
func TestDriverThatQuotes(t *testing.T) {
	for _, test := range []struct {
		credentials, host string
		quoted            string
	}{
		{"zarquon:cretPw", "zarquon-cretPw.invalid", "{ Addr: ***-***.invalid:1"},
		{"zarquon:zarquon-cretPw", "zarquon-cretPw.invalid", "{ Addr: ***.invalid:1"}, // one is a part of the other
		{"zarquon:cret", "xcretx.cret.invalid", "{ Addr: x***x.***.invalid:1"},
		// What is shorter occurs in the middle of words, so it is hidden only as a word.
		{"e:Pwd", "server.pwd.xpwdx.invalid", "{ Addr: server.***.xpwdx.invalid:1"},
		{"e:Pwd", "e.invalid", "{ Addr: ***.invalid:1"},
		{"pwd:e", "e.e.pwd.pwd.pwd.invalid", "{ Addr: ***.***.***.***.***.invalid:1"},
	} {
		uri := "mongodb://" + test.credentials + "@" + test.host + ":1/db?serverSelectionTimeoutMS=50&connectTimeoutMS=50"
		_, err := mongostore.Open(t.Context(), uri, mongostore.Config{})
		require.Error(t, err)
		_, message, _ := strings.Cut(err.Error(), ": the server does not answer: server selection error: ") // all of it can be read
		assert.Contains(t, message, test.quoted, uri)
		assert.NotContains(t, strings.ToLower(fully(errors.New(message))), strings.ToLower(test.host), uri)
	}
}

func assertSilent(t *testing.T, uri string, err error, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		assert.NotContains(t, strings.ToLower(fully(err)), strings.ToLower(secret), "%q", uri)
	}
	assert.NotContains(t, err.Error(), "\n", "%q", uri)
}

// TestGoodURIs checks that percent-encoded characters reach the server.
func TestGoodURIs(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	host := closed.Addr().String()
	require.NoError(t, closed.Close())
	for _, uri := range []string{
		"mongodb://app:S3%2Fcret@" + host + "/db",
		"mongodb://app:p%40%3A%3F%23%25@" + host + "/db",
		"mongodb://app@" + host + "/my-db_1",
		"mongodb://app:x@" + host + "," + host + "/db",
		"mongodb://@" + host + "/db?authMechanism=MONGODB-X509", // no user name: it is in the certificate
		"mongodb://" + host + "/db?appName=me%40home",
		"mongodb://%2Ftmp%2Fnone.sock/db",
	} {
		begin := time.Now()
		_, err := mongostore.Open(t.Context(), withOption(uri, "serverSelectionTimeoutMS=50"), mongostore.Config{})
		assert.ErrorContains(t, err, "does not answer", uri)
		assert.Less(t, time.Since(begin), 5*time.Second)
	}
}
