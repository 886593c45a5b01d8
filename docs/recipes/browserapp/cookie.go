package browserapp

import (
	"net/http"

	"github.com/rs/cors"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
)

// refreshCookies is for grant.Config.RefreshCookies. It keeps the refresh token of the client
// "web" in a cookie, for an app that appOrigin serves.
func refreshCookies(appOrigin string) (map[string]*grant.RefreshCookie, error) {
	trusted := http.NewCrossOriginProtection()
	if err := trusted.AddTrustedOrigin(appOrigin); err != nil {
		return nil, err
	}
	return map[string]*grant.RefreshCookie{"web": {CrossOrigin: trusted}}, nil
}

// newCookieSite is newSite for an app whose refresh token is in a cookie.
func newCookieSite(server *grant.Server, auth *middleware.Authenticator, appOrigin string) http.Handler {
	options := policy(appOrigin)
	options.AllowCredentials = true // without it browsers send no cookie to another origin
	return cors.New(options).Handler(newMux(server, auth))
}
