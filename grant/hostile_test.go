package grant_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
)

// What only a client that writes to the connection by itself can send.

// dial opens a connection to the kit.
func (k *kit) dial() *net.TCPConn {
	k.t.Helper()
	connection, err := net.Dial("tcp", strings.TrimPrefix(k.url, "http://"))
	require.NoError(k.t, err)
	require.NoError(k.t, connection.SetDeadline(time.Now().Add(30*time.Second)))
	return connection.(*net.TCPConn)
}

// exchange sends bytes, and returns the answers up to the end of the connection.
func (k *kit) exchange(sent string) (answers []answer) {
	k.t.Helper()
	connection := k.dial()
	defer connection.Close()
	go func() { _, _ = io.WriteString(connection, sent) }() // the server may close before it has read all
	reader := bufio.NewReader(connection)
	for {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			require.NotErrorIs(k.t, err, os.ErrDeadlineExceeded, "the connection must end")
			return answers
		}
		text, err := io.ReadAll(response.Body)
		require.NoError(k.t, err)
		answers = append(answers, answer{response.StatusCode, response.Header, string(text)})
	}
}

// statuses are those of the answers.
func statuses(answers []answer) (found []int) {
	for _, a := range answers {
		found = append(found, a.status)
	}
	return found
}

// loginAs is the request of a client that logs in.
func loginAs(client string, headers ...string) string {
	return tokenRequest(passwordForm+"&client_id="+client, headers...)
}

// lastLogin is one after which the server closes the connection.
func lastLogin() string { return loginAs("last", "Connection: close") }

func tokenRequest(body string, headers ...string) string {
	return rawRequest("POST /token HTTP/1.1", body, append(headers, "Content-Type: "+formType, fmt.Sprint("Content-Length: ", len(body)))...)
}

func rawRequest(line, body string, headers ...string) string {
	return line + "\r\nHost: x\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n" + body
}

func chunked(body string) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body) }

// logins counts the logins since it was last called.
func (k *kit) logins() (n int) {
	for _, event := range k.TakeEvents() {
		if event == grant.EventLoginSucceeded {
			n++
		}
	}
	return n
}

// clientOf is the client that an answer gives tokens to.
func (k *kit) clientOf(a answer) string {
	k.t.Helper()
	var response grant.Response
	require.NoError(k.t, json.Unmarshal([]byte(a.body), &response), a.body)
	token, err := k.Issuer.Verifier().Verify(k.t.Context(), response.AccessToken)
	require.NoError(k.t, err)
	return token.ClientID
}

// TestPipelinedRequestsAreAnsweredInOrder: nobody gets the answer of another.
func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	k := newKit(t, middlewaretest.Config{})
	for _, requests := range []int{2, 50} {
		var sent strings.Builder
		for i := range requests - 1 {
			switch i % 4 {
			case 0:
				sent.WriteString(loginAs(fmt.Sprint("app-", i)))
			case 1:
				sent.WriteString(tokenRequest("grant_type=other"))
			case 2:
				sent.WriteString(rawRequest("GET /token HTTP/1.1", ""))
			case 3:
				sent.WriteString(rawRequest("POST /token HTTP/1.1", chunked(passwordForm+fmt.Sprint("&client_id=app-", i)), "Content-Type: "+formType, "Transfer-Encoding: chunked"))
			}
		}
		answers := k.exchange(sent.String() + lastLogin())
		require.Len(t, answers, requests)
		want := 1
		for i, got := range answers[:requests-1] {
			switch i % 4 {
			case 0, 3:
				require.Equal(t, 200, got.status, got.body)
				assert.Equal(t, fmt.Sprint("app-", i), k.clientOf(got))
				want++
			case 1:
				assert.Equal(t, "unsupported_grant_type", got.json(t)["error"])
			case 2:
				assert.Equal(t, 405, got.status)
			}
		}
		assert.Equal(t, "last", k.clientOf(answers[requests-1]))
		assert.Equal(t, want, k.logins(), "each was taken once")
	}
}

// TestRequestAfterABadOne: the server finds the beginning of the next request, or closes
// the connection. It takes nothing out of a body that it has refused.
func TestRequestAfterABadOne(t *testing.T) {
	k := newKit(t, middlewaretest.Config{})
	hidden := loginAs("hidden")
	long := strings.Repeat(hidden, 100<<10/len(hidden))
	veryLong := strings.Repeat(hidden, 400<<10/len(hidden))
	length := func(body string) string { return fmt.Sprint("Content-Length: ", len(body)) }
	const form = "Content-Type: " + formType
	for name, test := range map[string]struct {
		bad  string
		want []int // the last login has the status 200
	}{
		"wrong content type":            {rawRequest("POST /token HTTP/1.1", hidden, "Content-Type: text/plain", length(hidden)), []int{400, 200}},
		"no content type":               {rawRequest("POST /token HTTP/1.1", hidden, length(hidden)), []int{400, 200}},
		"wrong method":                  {rawRequest("PUT /token HTTP/1.1", hidden, form, length(hidden)), []int{405, 200}},
		"GET with a body":               {rawRequest("GET /token HTTP/1.1", hidden, length(hidden)), []int{405, 200}},
		"credentials in the query":      {rawRequest("POST /token?password=x HTTP/1.1", hidden, form, length(hidden)), []int{400, 200}},
		"encoded body":                  {rawRequest("POST /token HTTP/1.1", hidden, form, "Content-Encoding: gzip", length(hidden)), []int{415, 200}},
		"encoded, in chunks":            {rawRequest("POST /token HTTP/1.1", chunked(hidden), form, "Content-Encoding: gzip", "Transfer-Encoding: chunked"), []int{415, 200}},
		"body of no form":               {rawRequest("POST /token HTTP/1.1", hidden, form, length(hidden)), []int{400, 200}},
		"unknown path":                  {rawRequest("POST /nothing HTTP/1.1", hidden, form, length(hidden)), []int{404, 200}},
		"protected handler":             {rawRequest("POST /protected HTTP/1.1", hidden, form, length(hidden)), []int{401, 200}},
		"refused introspection":         {rawRequest("POST /introspect HTTP/1.1", hidden, form, length(hidden)), []int{401, 200}},
		"over the bound":                {rawRequest("POST /token HTTP/1.1", long, form, length(long)), []int{413}},
		"over the bound, in chunks":     {rawRequest("POST /token HTTP/1.1", chunked(long), form, "Transfer-Encoding: chunked"), []int{413}},
		"unread, more than is skipped":  {rawRequest("PUT /token HTTP/1.1", veryLong, form, length(veryLong)), []int{405}},
		"no request line":               {"\x16\x03\x01\x02\x00\r\n\r\n", []int{400}},
		"no host":                       {"POST /token HTTP/1.1\r\n" + form + "\r\n" + length(hidden) + "\r\n\r\n" + hidden, []int{400}},
		"two hosts":                     {rawRequest("POST /token HTTP/1.1", hidden, "Host: y", form, length(hidden)), []int{400}},
		"NUL in a header":               {rawRequest("POST /token HTTP/1.1", hidden, "X: a\x00b", form, length(hidden)), []int{400}},
		"header of 2 MiB":               {rawRequest("POST /token HTTP/1.1", hidden, "X: "+strings.Repeat("x", 2<<20), form, length(hidden)), []int{431}},
		"size of a chunk that is none":  {rawRequest("POST /token HTTP/1.1", "zz\r\n"+hidden, form, "Transfer-Encoding: chunked"), []int{400}},
		"chunk longer than it says":     {rawRequest("POST /token HTTP/1.1", "3\r\n"+hidden+"\r\n0\r\n\r\n", form, "Transfer-Encoding: chunked"), []int{400}},
		"body longer than it says":      {rawRequest("POST /token HTTP/1.1", "a=b"+"GARBAGE "+hidden, form, "Content-Length: 3"), []int{400, 400}},
		"HTTP/1.0 closes":               {rawRequest("POST /token HTTP/1.0", passwordForm, form, length(passwordForm)), []int{200}},
		"a version that does not exist": {rawRequest("POST /token HTTP/1.9x", hidden, form, length(hidden)), []int{400}},
	} {
		t.Run(name, func(t *testing.T) {
			k.t = t
			answers := k.exchange(test.bad + lastLogin())
			require.Equal(t, test.want, statuses(answers))
			good := 0
			for _, got := range answers {
				if got.status == 200 {
					good++
					assert.NotEqual(t, "hidden", k.clientOf(got))
				}
			}
			assert.Equal(t, good, k.logins())
		})
	}
}

// TestNoRequestIsSmuggled: a proxy in front and the server must not see different
// requests. Where the length of a body can be read in two ways, the server refuses.
func TestNoRequestIsSmuggled(t *testing.T) {
	k := newKit(t, middlewaretest.Config{})
	body := passwordForm + "&client_id=app"
	const form, te = "Content-Type: " + formType, "Transfer-Encoding: chunked"
	length := fmt.Sprint("Content-Length: ", len(body))
	post := func(body string, headers ...string) string {
		return rawRequest("POST /token HTTP/1.1", body, append(headers, form)...)
	}
	for name, test := range map[string]struct {
		sent string
		want []int
	}{
		"two lengths":                  {post(body, length, "Content-Length: 0"), []int{400}},
		"two lengths in one line":      {post(body, length+", 0"), []int{400}},
		"one length twice":             {post(body, length, length), []int{200, 200}},
		"length with a sign":           {post(body, strings.Replace(length, ": ", ": +", 1)), []int{400}},
		"negative length":              {post(body, "Content-Length: -1"), []int{400}},
		"hexadecimal length":           {post(body, "Content-Length: 0x10"), []int{400}},
		"length that overflows":        {post(body, "Content-Length: 18446744073709551617"), []int{400}},
		"empty length":                 {post(body, "Content-Length:"), []int{400}},
		"two encodings":                {post(chunked(body), te, "Transfer-Encoding: identity"), []int{501}},
		"two encodings in one line":    {post(chunked(body), te+", identity"), []int{501}},
		"chunked twice":                {post(chunked(body), te, te), []int{501}},
		"unknown encoding":             {post(chunked(body), "Transfer-Encoding: xchunked"), []int{501}},
		"quoted encoding":              {post(chunked(body), `Transfer-Encoding: "chunked"`), []int{501}},
		"encoding with a vertical tab": {post(chunked(body), "Transfer-Encoding: \x0bchunked"), []int{400}},
		"space before the colon":       {post(chunked(body), "Transfer-Encoding : chunked", length), []int{400}},
		"folded header, one field":     {post(body, "X: y\r\n "+te, length), []int{200, 200}},
		"folded first header":          {"POST /token HTTP/1.1\r\n Host: x\r\n\r\n", []int{400}},
		"line feed in a header":        {post(body, "X: y\n\n"+te, length), []int{400, 400}},
		"carriage return in a header":  {post(body, "X: y\r"+te, length), []int{400}},

		// RFC 9112 section 6.1: the encoding counts. The next request begins after the last
		// chunk, and each of the two is taken once. net/http keeps the connection.
		"length and encoding": {post(chunked(body), length, te), []int{200, 200}},
	} {
		t.Run(name, func(t *testing.T) {
			k.t = t
			answers := k.exchange(test.sent + lastLogin())
			assert.Equal(t, test.want, statuses(answers))
			good := 0
			for _, got := range answers {
				if got.status == 200 {
					good++
				}
			}
			assert.Equal(t, good, k.logins(), "each was taken once, and answered")
		})
	}
}

// TestManyParametersCostLittle: a body within the bound makes no work beyond it.
func TestManyParametersCostLittle(t *testing.T) {
	k := newKit(t, middlewaretest.Config{Grant: func(c *grant.Config) { c.AcceptJSON = true }})
	const room = 64<<10 - 256
	var names, members strings.Builder
	for i := range 9000 {
		fmt.Fprintf(&names, "&%d", i)
	}
	for i := range room / 12 {
		fmt.Fprintf(&members, `"%d":"",`, i)
	}
	inJSON := func(member string) string {
		return fmt.Sprintf(`{%s,"grant_type":"password","username":"ada","password":%q}`, member, middlewaretest.Password)
	}
	for name, test := range map[string]struct {
		body string
		want int
	}{
		"thousands of names":         {passwordForm + names.String(), 200},
		"one name, thousands times":  {passwordForm + strings.Repeat("&x", 9000), 200},
		"a giant name":               {passwordForm + "&" + strings.Repeat("x", room), 200},
		"a giant escaped name":       {passwordForm + "&" + strings.Repeat("%78", room/3), 200},
		"a giant value":              {passwordForm + "&x=" + strings.Repeat("x", room), 200},
		"nothing, thousands times":   {passwordForm + strings.Repeat("&", 9000), 200},
		"more than can be meant":     {passwordForm + strings.Repeat("&x", room/2), 400},
		"a known one, repeated":      {passwordForm + strings.Repeat("&scope=x", room/8-1), 400},
		"a giant name of an account": {"grant_type=password&password=x&username=" + strings.Repeat("a", room-50), 400},
		"a giant token":              {"grant_type=refresh_token&refresh_token=" + strings.Repeat("a.", room/2-50), 400},
		"a giant grant type":         {"grant_type=" + strings.Repeat("x", room), 400},
		"a giant client":             {passwordForm + "&client_id=" + strings.Repeat("x", room), 200},

		"JSON, thousands of members": {inJSON(strings.TrimSuffix(members.String(), ",")), 200},
		"JSON, deep":                 {inJSON(`"x":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000)), 200},
		"JSON, too deep":             {inJSON(`"x":` + strings.Repeat("[", room/3) + strings.Repeat("]", room/3)), 400},
		"JSON, not closed":           {strings.Repeat(`{"":`, room/4), 400},
		"JSON, a giant number":       {inJSON(`"x":1` + strings.Repeat("0", room-100)), 200},
		"JSON, a repeated member":    {inJSON(`"x":1,"x":2`), 400},
	} {
		t.Run(name, func(t *testing.T) {
			k.t = t
			kind := formType
			if strings.HasPrefix(test.body, "{") {
				kind = "application/json"
			}
			require.LessOrEqual(t, len(test.body), 64<<10)
			request := rawRequest("POST /token HTTP/1.1", test.body, "Connection: close", "Content-Type: "+kind, fmt.Sprint("Content-Length: ", len(test.body)))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			answers := k.exchange(request)
			runtime.ReadMemStats(&after)
			assert.Equal(t, []int{test.want}, statuses(answers))
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20), "bytes")
			if test.want != 200 {
				assert.Less(t, len(answers[0].body), 200, "the answer repeats nothing")
			}
		})
	}
}
