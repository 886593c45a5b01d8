package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/store"
)

// The page at / tries the whole server in a browser. It calls the same endpoints as any
// other client.

//go:embed page
var pageFiles embed.FS

// pageClient is the client_id of the page where it holds the refresh token itself, to show
// it.
const pageClient = "page"

// pageSettings is what the page must know of the server.
type pageSettings struct {
	Issuer       string
	Base         string // the path of the issuer, where the endpoints of the protocol are
	PageClient   string
	CookieClient string // empty where no client has a cookie
	Mail         string // "smtp", "log", or "off"
	Registration bool

	ReuseInterval, LostReplyWindow int64 // seconds
}

func newPageSettings(s *settings) pageSettings {
	page := pageSettings{
		Issuer: s.issuer, PageClient: pageClient, CookieClient: s.cookieClient, Mail: "off",
		ReuseInterval: seconds(s.reuseInterval), LostReplyWindow: seconds(s.lostReplyWindow),
	}
	if location, err := url.Parse(s.issuer); err == nil { // tokens.NewIssuer has parsed it
		page.Base = strings.TrimSuffix(location.EscapedPath(), "/")
	}
	switch {
	case s.mailToLog:
		page.Mail = "log"
	case s.smtpURL != "":
		page.Mail = "smtp"
	}
	page.Registration = page.Mail != "off" && !s.noRegistration
	return page
}

// seconds returns 0 for store.Off.
func seconds(d time.Duration) int64 {
	if d == store.Off {
		return 0
	}
	return int64(d / time.Second)
}

// mountPage mounts the page and its files, each at a path of its own: a pattern with a
// wildcard could collide with the path of an issuer.
func mountPage(mux grant.Mux, settings pageSettings) error {
	page, err := template.ParseFS(pageFiles, "page/index.html")
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := page.Execute(&text, settings); err != nil {
		return err
	}
	mux.Handle("GET /{$}", pageFile(text.Bytes(), "text/html; charset=utf-8"))

	types := map[string]string{
		".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
	}
	return fs.WalkDir(pageFiles, "page", func(name string, entry fs.DirEntry, err error) error {
		contentType, known := types[path.Ext(name)]
		if err != nil || !known {
			return err
		}
		content, err := pageFiles.ReadFile(name)
		mux.Handle("GET /"+name, pageFile(content, contentType))
		return err
	})
}

// pagePolicy lets the page load its own files and call its own server, and nothing else.
// Text that got into the page by mistake cannot run, and no other site can frame the page.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// pageFile serves a file that browsers ask for again each time, and download only if it has
// changed.
func pageFile(content []byte, contentType string) http.Handler {
	sum := sha256.Sum256(content)
	tag := fmt.Sprintf("%q", base64.RawURLEncoding.EncodeToString(sum[:12]))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Type", contentType)
		header.Set("Content-Security-Policy", pagePolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cache-Control", "no-cache")
		header.Set("ETag", tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}
