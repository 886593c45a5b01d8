package grant_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// newEndpoints makes every endpoint that reads parameters.
func newEndpoints(t *testing.T) http.Handler {
	t.Helper()
	server, _ := newServer(t, memstore.New(), func(c *grant.Config) {
		c.Logger = slog.New(slog.DiscardHandler)
		c.MayIntrospect = func(*http.Request) (bool, error) { return true, nil }
	})
	mux := http.NewServeMux()
	server.Mount(mux)
	return mux
}

var endpoints = []string{"/token", "/revoke", "/introspect"}

// assertInvalidRequest checks an error answer, all but its status.
func assertInvalidRequest(t *testing.T, response *http.Response) {
	t.Helper()
	assert.Equal(t, "no-store", response.Header.Get("Cache-Control"))
	assert.Equal(t, "application/json;charset=UTF-8", response.Header.Get("Content-Type"))
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&body))
	assert.Equal(t, "invalid_request", body.Error)
	assert.NotEmpty(t, body.Description)
}

// TestAnnouncedLengthCostsNothing: a client that announces a long body and sends a
// short one takes the memory of the short one.
func TestAnnouncedLengthCostsNothing(t *testing.T) {
	handler := newEndpoints(t)
	body := "grant_type=other&x=" + strings.Repeat("x", 131)
	require.Len(t, body, 150)
	allocated := func(announced int64) uint64 {
		const requests = 200
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range requests {
			request := httptest.NewRequest("POST", "/token", strings.NewReader(body))
			request.Header.Set("Content-Type", formType)
			request.ContentLength = announced
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			require.Contains(t, recorder.Body.String(), "unsupported_grant_type")
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / requests
	}
	allocated(150) // what is made once is made now
	honest := allocated(150)
	for _, announced := range []int64{-1, 64 << 10, 1 << 40} {
		assert.InDelta(t, honest, allocated(announced), 4<<10, "bytes for a request that announces %d", announced)
	}
}

func TestBodyOverTheBoundIsRefused(t *testing.T) {
	web := httptest.NewServer(newEndpoints(t))
	defer web.Close()
	const bound = 64 << 10
	for _, announced := range []bool{true, false} {
		for length, status := range map[int]int{bound - 1: 200, bound: 200, bound + 1: 413, 4 * bound: 413} {
			t.Run(fmt.Sprintf("%d bytes, announced %t", length, announced), func(t *testing.T) {
				body := passwordForm + "&x="
				body += strings.Repeat("x", length-len(body))
				request, err := http.NewRequestWithContext(t.Context(), "POST", web.URL+"/token", strings.NewReader(body))
				require.NoError(t, err)
				request.Header.Set("Content-Type", formType)
				if !announced {
					request.ContentLength, request.Body = -1, io.NopCloser(strings.NewReader(body))
				}
				response, err := http.DefaultClient.Do(request)
				require.NoError(t, err)
				defer response.Body.Close()
				require.Equal(t, status, response.StatusCode)
				if status != 200 {
					assertInvalidRequest(t, response)
				}
			})
		}
	}
}

func TestEncodedBodyIsRefused(t *testing.T) {
	web := httptest.NewServer(newEndpoints(t))
	defer web.Close()
	for name, test := range map[string]struct {
		encodings []string
		refused   bool
	}{
		"none":                 {},
		"empty":                {encodings: []string{""}},
		"identity":             {encodings: []string{"identity"}},
		"identity in capitals": {encodings: []string{"Identity "}},
		"gzip":                 {encodings: []string{"gzip"}, refused: true},
		"unknown":              {encodings: []string{"x"}, refused: true},
		"two in one line":      {encodings: []string{"identity, gzip"}, refused: true},
		"two lines":            {encodings: []string{"identity", "gzip"}, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, endpoint := range endpoints {
				request, err := http.NewRequestWithContext(t.Context(), "POST", web.URL+endpoint, strings.NewReader(passwordForm+"&token=x"))
				require.NoError(t, err)
				request.Header.Set("Content-Type", formType)
				request.Header["Content-Encoding"] = test.encodings
				response, err := http.DefaultClient.Do(request)
				require.NoError(t, err)
				defer response.Body.Close()
				if !test.refused {
					assert.Equal(t, 200, response.StatusCode, endpoint)
					continue
				}
				assert.Equal(t, 415, response.StatusCode, endpoint)
				assert.Equal(t, "identity", response.Header.Get("Accept-Encoding"), "RFC 9110 section 12.5.3")
				assertInvalidRequest(t, response)
			}
		})
	}
}

// TestParametersOfTheRFCs: none of them may be repeated, and no credential may stand in the query.
// What a client may repeat is its own affair.
func TestParametersOfTheRFCs(t *testing.T) {
	k := newKit(t, middlewaretest.Config{})
	for name, credential := range map[string]bool{
		"grant_type": false, "scope": false, "client_id": false, "client_assertion_type": false, "token_type_hint": false,
		"redirect_uri": false, "state": false, "response_type": false,
		"username": true, "password": true, "refresh_token": true, "client_secret": true, "client_assertion": true, "token": true,
		"access_token": true, "code": true,
	} {
		got := k.token(passwordForm + "&" + name + "=a&" + name + "=b")
		assert.Equal(t, []any{400, "a parameter is repeated"}, []any{got.status, got.json(t)["error_description"]}, name)
		got = k.post("/token?"+name+"=x", passwordForm)
		if credential {
			assert.Equal(t, []any{400, "credentials must not be in the query"}, []any{got.status, got.json(t)["error_description"]}, name)
		} else {
			assert.Equal(t, 200, got.status, name)
		}
	}
	assert.Equal(t, 200, k.post("/token?own=x&own=y", passwordForm+"&own=a&own=b").status)
}

// TestMalformedJSONIsRefused: a parameter is a string, and stands once.
func TestMalformedJSONIsRefused(t *testing.T) {
	k := newKit(t, middlewaretest.Config{Grant: func(c *grant.Config) { c.AcceptJSON = true }})
	good := `"grant_type":"password","username":"ada","password":"` + middlewaretest.Password + `"`
	assert.Equal(t, 200, k.send("POST", "/token", "{"+good+"}", "Content-Type", "application/json").status)
	for body, description := range map[string]string{
		"":                                       "the body is malformed",
		"null":                                   "the body is malformed",
		"[]":                                     "the body is malformed",
		"{" + good:                               "the body is malformed",
		"{" + good + "}{}":                       "the body is malformed",
		"{" + good + `,"scope":"a","scope":"a"}`: "the body is malformed",
		"{" + good + `,"client_id":1}`:           "a parameter is not a string",
		"{" + good + `,"scope":["a"]}`:           "a parameter is not a string",
		"{" + good + `,"client_secret":{}}`:      "a parameter is not a string",
		"{" + strings.Replace(good, "grant_type", "Grant_Type", 1) + "}": "grant_type is missing",
		`{"grant_type":null}`: "grant_type is missing",
	} {
		got := k.send("POST", "/token", body, "Content-Type", "application/json")
		assert.Equal(t, []any{400, "invalid_request", description}, []any{got.status, got.json(t)["error"], got.json(t)["error_description"]}, body)
	}
}

// TestSlowBodyTimesOut: the server gives up on a body that does not come, and still
// answers.
func TestSlowBodyTimesOut(t *testing.T) {
	web := httptest.NewUnstartedServer(newEndpoints(t))
	web.Config.ReadTimeout = 100 * time.Millisecond
	web.Start()
	defer web.Close()
	for _, endpoint := range endpoints {
		for name, body := range map[string]string{
			"announced": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", 2*len(passwordForm), passwordForm),
			"chunked":   fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(passwordForm), passwordForm),
		} {
			t.Run(endpoint+" "+name, func(t *testing.T) {
				connection, err := net.Dial("tcp", web.Listener.Addr().String())
				require.NoError(t, err)
				defer connection.Close()
				require.NoError(t, connection.SetDeadline(time.Now().Add(30*time.Second)))
				_, err = io.WriteString(connection, "POST "+endpoint+" HTTP/1.1\r\nHost: x\r\nContent-Type: "+formType+"\r\n"+body)
				require.NoError(t, err)
				reader := bufio.NewReader(connection)
				response, err := http.ReadResponse(reader, nil)
				require.NoError(t, err)
				assert.Equal(t, 408, response.StatusCode)
				assert.True(t, response.Close, "the answer says that the connection ends")
				assertInvalidRequest(t, response)
				_, err = reader.ReadByte()
				assert.ErrorIs(t, err, io.EOF, "and it does end")
			})
		}
	}
}

// TestClientThatHangsUpDidNotTimeOut: a body that is cut off is malformed.
func TestClientThatHangsUpDidNotTimeOut(t *testing.T) {
	web := httptest.NewServer(newEndpoints(t))
	defer web.Close()
	for _, endpoint := range endpoints {
		connection, err := net.DialTCP("tcp", nil, web.Listener.Addr().(*net.TCPAddr))
		require.NoError(t, err)
		defer connection.Close()
		_, err = io.WriteString(connection, "POST "+endpoint+" HTTP/1.1\r\nHost: x\r\nContent-Type: "+formType+"\r\nContent-Length: 1000\r\n\r\n"+passwordForm)
		require.NoError(t, err)
		require.NoError(t, connection.CloseWrite())
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		require.NoError(t, err)
		assert.Equal(t, 400, response.StatusCode)
		assertInvalidRequest(t, response)
	}
}
