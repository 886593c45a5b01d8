package main

import (
	"bytes"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fetch sends a request without a body, and returns the answer with its body.
func (p *process) fetch(method, path string, headers ...string) (*http.Response, string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, nil)
	require.NoError(p.t, err)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(p.t, err)
	defer response.Body.Close()
	var body bytes.Buffer
	_, err = body.ReadFrom(response.Body)
	require.NoError(p.t, err)
	return response, body.String()
}

// pageTypes are the paths of the page and its files.
var pageTypes = map[string]string{
	"/":                "text/html; charset=utf-8",
	"/page/page.css":   "text/css; charset=utf-8",
	"/page/icon.svg":   "image/svg+xml",
	"/page/page.js":    "text/javascript; charset=utf-8",
	"/page/login.js":   "text/javascript; charset=utf-8",
	"/page/tokens.js":  "text/javascript; charset=utf-8",
	"/page/account.js": "text/javascript; charset=utf-8",
	"/page/admin.js":   "text/javascript; charset=utf-8",
	"/page/http.js":    "text/javascript; charset=utf-8",
	"/page/dom.js":     "text/javascript; charset=utf-8",
}

func TestPageAndItsFilesHaveStrictHeaders(t *testing.T) {
	p := start(t, t.TempDir(), "-store", "memory:")
	for path, contentType := range pageTypes {
		for _, method := range []string{"GET", "HEAD"} {
			response, body := p.fetch(method, path)
			assert.Equal(t, 200, response.StatusCode, path)
			assert.Equal(t, method == "HEAD", body == "", path)
			for name, want := range map[string]string{
				"Content-Type":               contentType,
				"X-Content-Type-Options":     "nosniff",
				"Referrer-Policy":            "no-referrer",
				"Cross-Origin-Opener-Policy": "same-origin",
				"Cache-Control":              "no-cache",
			} {
				assert.Equal(t, want, response.Header.Get(name), "%s %s", path, name)
			}
			policy := response.Header.Get("Content-Security-Policy")
			for _, directive := range []string{
				"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "form-action 'none'", "base-uri 'none'", "frame-ancestors 'none'",
			} {
				assert.Contains(t, policy, directive, path)
			}
			assert.NotContains(t, policy, "unsafe")
		}
	}
}

// TestPageFilesAreAllServed: the files that the server holds are those that the tests look at.
func TestPageFilesAreAllServed(t *testing.T) {
	entries, err := os.ReadDir("page")
	require.NoError(t, err)
	paths := []string{"/"}
	for _, entry := range entries {
		if entry.Name() != "index.html" { // it is a template, and served as /
			paths = append(paths, "/page/"+entry.Name())
		}
	}
	assert.ElementsMatch(t, slices.Collect(maps.Keys(pageTypes)), paths)
}

func TestPageAllowsNoInlineScript(t *testing.T) {
	_, page := start(t, t.TempDir(), "-store", "memory:").fetch("GET", "/")
	assert.Equal(t, 1, strings.Count(page, "<script"))
	assert.Contains(t, page, `<script type="module" src="/page/page.js"></script>`)
	assert.NotRegexp(t, `(?i)<style|\sstyle=|\son[a-z]+=|javascript:`, page)
	assert.NotRegexp(t, `(src|href)="(?:[a-z]+:)?//`, page, "nothing comes from elsewhere")
	for path := range pageTypes {
		if strings.HasSuffix(path, ".js") {
			script, err := os.ReadFile(strings.TrimPrefix(path, "/"))
			require.NoError(t, err)
			assert.NotRegexp(t, `innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://[^l ]`, string(script), path)
		}
	}
}

func TestPageIsDownloadedOnlyWhereItHasChanged(t *testing.T) {
	p := start(t, t.TempDir(), "-store", "memory:")
	for path := range pageTypes {
		response, _ := p.fetch("GET", path)
		tag := response.Header.Get("ETag")
		require.NotEmpty(t, tag, path)
		response, body := p.fetch("GET", path, "If-None-Match", tag)
		assert.Equal(t, 304, response.StatusCode, path)
		assert.Empty(t, body)
		response, _ = p.fetch("GET", path, "If-None-Match", `"another"`)
		assert.Equal(t, 200, response.StatusCode, path)
	}
	other := start(t, t.TempDir(), "-store", "memory:", "-mail-to-log")
	first, _ := p.fetch("GET", "/")
	second, _ := other.fetch("GET", "/")
	assert.NotEqual(t, first.Header.Get("ETag"), second.Header.Get("ETag"), "with other settings it is another page")
}

func TestPageLeavesOtherPathsAndMethodsAlone(t *testing.T) {
	p := start(t, t.TempDir(), "-store", "memory:")
	for _, path := range []string{"/index.html", "/page", "/page/", "/page/index.html", "/page/page.go", "/page/../page.go", "/favicon.ico", "/x"} {
		response, _ := p.fetch("GET", path)
		assert.Equal(t, 404, response.StatusCode, path)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		response, _ := p.fetch(method, "/")
		assert.Equal(t, 405, response.StatusCode, method)
		assert.Equal(t, "GET, HEAD", response.Header.Get("Allow"), method)
	}
	assert.NotEmpty(t, p.login().AccessToken)
}

// TestPageKnowsTheServer: the endpoints of the protocol are below the path of the issuer, and
// the page must not guess.
func TestPageKnowsTheServer(t *testing.T) {
	for name, test := range map[string]struct {
		arguments     []string
		holds, lacks  []string
		tokenEndpoint string
	}{
		"as it comes": {
			nil,
			[]string{`data-base=""`, `data-cookie-client="browser"`, `data-reuse-interval="10"`, `data-lost-reply-window="2592000"`, "sends no mail", `href="/.well-known/jwks.json"`},
			[]string{`id="register"`, `id="reset"`, `id="email"`},
			"/token",
		},
		"path of the issuer": {
			[]string{"-addr", "127.0.0.1:0", "-issuer", "https://h.example/tenant/a/"},
			[]string{`data-base="/tenant/a"`, `href="/tenant/a/.well-known/jwks.json"`, `href="/.well-known/oauth-authorization-server/tenant/a"`},
			nil,
			"/tenant/a/token",
		},
		"path beyond ASCII": {
			[]string{"-addr", "127.0.0.1:0", "-issuer", "https://h.example/größe"},
			[]string{`data-base="/gr%C3%B6%C3%9Fe"`},
			nil,
			"/gr%C3%B6%C3%9Fe/token",
		},
		"path of the page": {
			[]string{"-addr", "127.0.0.1:0", "-issuer", "https://h.example/page"},
			[]string{`data-base="/page"`},
			nil,
			"/page/token",
		},
		"mail": {
			[]string{"-mail-to-log"},
			[]string{`id="register"`, `id="reset"`, `id="email"`, "the log of the server"},
			[]string{"sends no mail"},
			"/token",
		},
		"mail without registration": {
			[]string{"-mail-to-log", "-registration", "off"},
			[]string{"Registration is turned off", `id="reset"`},
			[]string{`id="register"`},
			"/token",
		},
		"without the cookie": {
			[]string{"-cookie-client", ""},
			[]string{`data-cookie-client=""`, "turned off on this server"},
			[]string{`id="keep-cookie"`},
			"/token",
		},
		"strict rotation": {
			[]string{"-reuse-interval", "0", "-lost-reply-window", "0"},
			[]string{`data-reuse-interval="0"`, `data-lost-reply-window="0"`},
			nil,
			"/token",
		},
		"a client with signs": {
			[]string{"-cookie-client", `<b>"app"&`},
			[]string{`data-cookie-client="&lt;b&gt;&#34;app&#34;&amp;"`},
			[]string{"<b>"},
			"/token",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, t.TempDir(), append([]string{"-store", "memory:"}, test.arguments...)...)
			_, page := p.fetch("GET", "/")
			for _, part := range test.holds {
				assert.Contains(t, page, part)
			}
			for _, part := range test.lacks {
				assert.NotContains(t, page, part)
			}
			response, _ := p.fetch("GET", test.tokenEndpoint)
			assert.Equal(t, 405, response.StatusCode, "the token endpoint is there")
		})
	}
}

var (
	usedID   = regexp.MustCompile(`(?:find|onSubmit|open)\('([a-z-]+)'`)
	givenID  = regexp.MustCompile(`\bid="([^"]+)"`)
	madeID   = regexp.MustCompile(`\bid: '([a-z-]+)'`)
	namedIDs = regexp.MustCompile(`(?:for|aria-labelledby|aria-describedby)="([^"]+)"`)
)

// TestPageHasWhatItsScriptLooksFor, and no id stands twice.
func TestPageHasWhatItsScriptLooksFor(t *testing.T) {
	_, page := start(t, t.TempDir(), "-store", "memory:", "-mail-to-log").fetch("GET", "/")
	given := make(map[string]bool)
	for _, id := range givenID.FindAllStringSubmatch(page, -1) {
		assert.False(t, given[id[1]], "twice: %s", id[1])
		given[id[1]] = true
	}
	for _, names := range namedIDs.FindAllStringSubmatch(page, -1) {
		for name := range strings.FieldsSeq(names[1]) {
			assert.True(t, given[name], name)
		}
	}
	scripts := ""
	for path := range pageTypes {
		if strings.HasSuffix(path, ".js") {
			script, err := os.ReadFile(strings.TrimPrefix(path, "/"))
			require.NoError(t, err)
			scripts += string(script)
		}
	}
	for _, id := range madeID.FindAllStringSubmatch(scripts, -1) {
		given[id[1]] = true
	}
	used := usedID.FindAllStringSubmatch(scripts, -1)
	require.Greater(t, len(used), 40)
	for _, id := range used {
		assert.True(t, given[id[1]], id[1])
	}
}

func TestCookieClientKeepsItsRefreshTokenInACookie(t *testing.T) {
	for name, test := range map[string]struct {
		environment, arguments []string
		client                 string
		inCookie               bool
	}{
		"by default":      {nil, nil, "browser", true},
		"another client":  {nil, nil, "page", false},
		"a flag":          {nil, []string{"-cookie-client", "shop"}, "shop", true},
		"the environment": {[]string{"OAUTHSV_COOKIE_CLIENT=shop"}, nil, "shop", true},
		"off":             {[]string{"OAUTHSV_COOKIE_CLIENT=shop"}, []string{"-cookie-client", ""}, "browser", false},
	} {
		t.Run(name, func(t *testing.T) {
			arguments := append([]string{"-addr", "127.0.0.1:0", "-issuer", "http://127.0.0.1", "-store", "memory:"}, test.arguments...)
			p := startCommand(t, command(t.TempDir(), test.environment, arguments...))
			response, err := http.PostForm(p.url+"/token", map[string][]string{
				"grant_type": {"password"}, "client_id": {test.client}, "username": {"root"}, "password": {rootPassword},
			})
			require.NoError(t, err)
			var tokens tokenResponse
			require.NoError(t, decode(response, &tokens))
			assert.Equal(t, test.inCookie, tokens.RefreshToken == "")
			assert.Equal(t, test.inCookie, len(response.Cookies()) == 1)
		})
	}
}

func TestRefusesCookieClient(t *testing.T) {
	for client, says := range map[string]string{
		"grün":                   `-cookie-client "grün": must be 1 to 256 printable ASCII characters, such as browser`,
		"a\nb":                   `-cookie-client "a\nb": must be`,
		strings.Repeat("a", 257): "must be 1 to 256",
		"page":                   `-cookie-client "page": the page at / shows the refresh token of this client: choose another one, such as browser`,
	} {
		output, err := command(t.TempDir(), nil, "-cookie-client", client).CombinedOutput()
		assert.Error(t, err)
		assert.True(t, strings.HasPrefix(string(output), "example_server: -cookie-client "), string(output))
		assert.Contains(t, string(output), says)
		assert.Equal(t, 1, strings.Count(string(output), "\n"))
	}
}
