package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// driver is a client of a server under load. It is safe for concurrent use, and unlike
// process it takes no answer for an answer too.
type driver struct {
	url  string
	from string // of X-Forwarded-For, if set
	http *http.Client
}

// newDriver returns a client with connections of its own.
func newDriver(url string) *driver {
	transport := &http.Transport{MaxIdleConnsPerHost: 1000}
	return &driver{url: url, http: &http.Client{Transport: transport, Timeout: time.Minute}}
}

func (d *driver) close() { d.http.CloseIdleConnections() }

// answer is what came back. Its status is 0 if no whole answer came.
type answer struct {
	status int
	header http.Header
	body   []byte
	failed error
	tokenResponse
	generation int64 // of the tokens
}

func (a answer) String() string {
	if a.status == 0 {
		return a.failed.Error()
	}
	return fmt.Sprintf("%d %.200s", a.status, a.body)
}

func (d *driver) login(name, password string) answer {
	return d.form("/token", url.Values{"grant_type": {"password"}, "username": {name}, "password": {password}})
}

func (d *driver) refresh(token string) answer {
	return d.form("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

func (d *driver) revoke(token string) answer { return d.form("/revoke", url.Values{"token": {token}}) }

func (d *driver) me(token string) answer { return d.send("GET", "/me", token, "", nil) }

func (d *driver) changePassword(token, current, next string) answer {
	body, _ := json.Marshal(map[string]string{"current_password": current, "new_password": next}) // strings
	return d.send("PUT", "/me/password", token, "application/json", body)
}

func (d *driver) form(path string, form url.Values) answer {
	return d.send("POST", path, "", "application/x-www-form-urlencoded", []byte(form.Encode()))
}

func (d *driver) send(method, path, token, contentType string, body []byte) (a answer) {
	request, err := http.NewRequest(method, d.url+path, bytes.NewReader(body))
	if err != nil {
		return answer{failed: err}
	}
	for name, value := range map[string]string{"Content-Type": contentType, "X-Forwarded-For": d.from} {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := d.http.Do(request)
	if err != nil {
		return answer{failed: err}
	}
	defer response.Body.Close()
	if a.body, err = io.ReadAll(response.Body); err != nil {
		return answer{failed: err}
	}
	a.status, a.header = response.StatusCode, response.Header
	if a.status != http.StatusOK {
		return a
	}
	if err := json.Unmarshal(a.body, &a.tokenResponse); err != nil {
		return answer{failed: err}
	}
	a.generation = generationOf(a.RefreshToken)
	return a
}

// generationOf reads the generation in a token, without a check. It is 0 where there is
// no token.
func generationOf(token string) int64 {
	var claims struct {
		Generation int64 `json:"gen"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return 0
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return 0
	}
	return claims.Generation
}

// tally counts what a load does, by kind.
type tally struct {
	logins, refreshes, recoveries, revocations, passwords, requests, refused atomic.Int64
}

func (c *tally) all() int64 {
	return c.logins.Load() + c.refreshes.Load() + c.recoveries.Load() + c.revocations.Load() +
		c.passwords.Load() + c.requests.Load() + c.refused.Load()
}

func (c *tally) String() string {
	return fmt.Sprintf("%d (%d logins, %d refreshes, %d lost replies, %d revocations, %d password changes, %d protected requests, %d refusals)",
		c.all(), c.logins.Load(), c.refreshes.Load(), c.recoveries.Load(), c.revocations.Load(), c.passwords.Load(), c.requests.Load(), c.refused.Load())
}
