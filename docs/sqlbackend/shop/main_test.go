package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestUserOfTheTeamLogsIn: Ada, who was in the team's table before the kit came, logs in with
// her old password. The handler finds her orders by the team's own id.
func TestUserOfTheTeamLogsIn(t *testing.T) {
	directory := t.TempDir()
	db, err := openTeamDB(filepath.Join(directory, "shop.db"))
	require.NoError(t, err)
	defer func() { assert.NoError(t, db.Close()) }()
	app, err := newApp(t.Context(), db, directory)
	require.NoError(t, err)
	web := httptest.NewServer(app)
	defer web.Close()
	hash := func() (text string) {
		require.NoError(t, db.QueryRow("SELECT password_hash FROM users WHERE id = 4711").Scan(&text))
		return text
	}

	require.Regexp(t, `^\$2a\$10\$`, hash())
	login := func(username, password string) (status int, accessToken string) {
		response, err := http.PostForm(web.URL+"/token", url.Values{"grant_type": {"password"}, "username": {username}, "password": {password}})
		require.NoError(t, err)
		defer func() { assert.NoError(t, response.Body.Close()) }()
		var tokens struct {
			AccessToken string `json:"access_token"`
		}
		require.NoError(t, json.NewDecoder(response.Body).Decode(&tokens))
		return response.StatusCode, tokens.AccessToken
	}
	status, _ := login("ada", "wrong")
	assert.Equal(t, 400, status)
	for _, username := range []string{"ada", "Ada", "ADA@example.org"} { // with the old hash, then with the new one
		status, token := login(username, "nine-kettles-sing-at-noon")
		require.Equal(t, 200, status)
		assert.Regexp(t, `^\$argon2id\$`, hash())

		request, err := http.NewRequestWithContext(t.Context(), "GET", web.URL+"/orders", nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, 200, response.StatusCode)
		assert.JSONEq(t, `{"user": 4711, "items": ["teapot", "kettle"]}`, string(body))
	}
	response, err := http.Get(web.URL + "/orders")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, 401, response.StatusCode)
}

// TestPageShowsThisProgram: the code on the page is the code that is compiled and run here.
func TestPageShowsThisProgram(t *testing.T) {
	page, err := os.ReadFile("../../own-users-table.md")
	require.NoError(t, err)
	var sources strings.Builder
	for _, pattern := range []string{"*.go", "*.sql", "../*.go", "../*.sql"} {
		names, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range names {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			sources.Write(text)
		}
	}
	blocks := regexp.MustCompile("(?s)```(?:go|sql)\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		assert.Contains(t, sources.String(), block[1])
	}
}
