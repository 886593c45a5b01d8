package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReadmeShowsThisProgram: what a stranger copies is what is compiled and run here.
func TestReadmeShowsThisProgram(t *testing.T) {
	program, err := os.ReadFile("main.go")
	require.NoError(t, err)
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, program, found := bytes.Cut(program, []byte("\n")) // all but the package comment
	require.True(t, found)
	assert.True(t, bytes.Contains(readme, append([]byte("```go\n"), append(program, []byte("```\n")...)...)),
		"put docs/quickstart/main.go into README.md as it is, without its first line")
}

func TestProgram(t *testing.T) {
	t.Chdir(t.TempDir())
	var output bytes.Buffer
	log.SetOutput(&output)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	app, err := newApp()
	require.NoError(t, err)
	web := httptest.NewServer(app)
	defer web.Close()

	line := output.String()
	password := strings.TrimSpace(line[strings.LastIndexByte(strings.TrimSpace(line), ' ')+1:])
	response, err := http.PostForm(web.URL+"/token", url.Values{"grant_type": {"password"}, "username": {"root"}, "password": {password}})
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, 200, response.StatusCode)
	var tokens struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&tokens))
	for path, statuses := range map[string][2]int{"/orders": {200, 401}, "/reports": {200, 401}, "/nothing": {404, 404}} {
		for i, authorization := range []string{"Bearer " + tokens.AccessToken, ""} {
			request, err := http.NewRequestWithContext(t.Context(), "GET", web.URL+path, nil)
			require.NoError(t, err)
			request.Header.Set("Authorization", authorization)
			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			assert.NoError(t, response.Body.Close())
			assert.Equal(t, statuses[i], response.StatusCode, "%s: %s", path, body)
		}
	}
}
