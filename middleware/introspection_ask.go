package middleware

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// ask asks the issuer, and keeps a good answer.
func (i *Introspection) ask(ctx context.Context, token string) (*introspected, error) {
	asked := i.config.Now()
	members, err := i.post(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("middleware: introspection at %s: %w", i.config.URL, err)
	}
	if members == nil {
		i.byToken.Invalidate(token)
		return nil, errInactive
	}
	// A session counts its generations from 1, so store.Accounts takes a negative one
	// for a token that is older than every reuse it knows, as it takes 0.
	ref, err := store.ParseSessionRef(members.Subject, members.SessionID, -i.answers.Add(1))
	switch {
	case err != nil, ref.AccountID == store.NilID:
		return nil, fmt.Errorf("%w: the subject is no account id", tokens.ErrMalformed)
	case members.Expiry != nil && asked.Unix() >= *members.Expiry:
		return nil, tokens.ErrExpired
	case members.NotBefore != nil && asked.Unix() < *members.NotBefore:
		return nil, tokens.ErrNotYetValid
	}
	answer := &introspected{
		compact: token, ref: ref, asked: asked,
		token: tokens.AccessToken{Claims: tokens.Claims{
			Subject: members.Subject, ClientID: members.ClientID, SessionID: members.SessionID, Generation: ref.Generation,
			ID: members.ID, Issuer: members.Issuer, Audience: members.Audience,
			Expiry: timeOf(members.Expiry), IssuedAt: timeOf(members.IssuedAt),
		}},
		account: &store.Account{ID: ref.AccountID, Name: members.Username, Groups: slices.Sorted(slices.Values(members.Groups))},
	}
	if i.config.Audience != "" && !answer.token.HasAudience(i.config.Audience) {
		return nil, tokens.ErrAudience
	}
	if i.config.CacheFor > 0 {
		i.byToken.Set(token, answer)
	}
	return answer, nil
}

// introspectionAnswer is what the issuer says of an active token (RFC 7662 section
// 2.2).
type introspectionAnswer struct {
	Subject   string   `json:"sub"`
	Username  string   `json:"username"`
	ClientID  string   `json:"client_id"`
	SessionID string   `json:"sid"`
	ID        string   `json:"jti"`
	Issuer    string   `json:"iss"`
	Audience  audience `json:"aud"`
	IssuedAt  *int64   `json:"iat"`
	Expiry    *int64   `json:"exp"`
	NotBefore *int64   `json:"nbf"`
	Groups    []string `json:"groups"`
}

// timeOf returns the zero time for a member that the issuer has left out.
func timeOf(seconds *int64) time.Time {
	if seconds == nil {
		return time.Time{}
	}
	return time.Unix(*seconds, 0).UTC()
}

// audience is a JSON string or an array of them (RFC 7662 section 2.2).
type audience []string

func (a *audience) UnmarshalJSON(text []byte) error {
	if text[0] == '"' {
		*a = make([]string, 1)
		return json.Unmarshal(text, &(*a)[0])
	}
	return json.Unmarshal(text, (*[]string)(a))
}

// post sends the question. It returns nil for a token that is not active. Any answer but
// 200 is an outage: 401 means that this service may not ask, and says nothing about the
// token.
func (i *Introspection) post(ctx context.Context, token string) (*introspectionAnswer, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, i.config.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("the request cannot be made") // the cause may quote the URL
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	if i.config.Token != nil {
		own, err := i.config.Token(ctx)
		if err != nil {
			return nil, fmt.Errorf("the token of this service: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+own)
	} else { // RFC 6749 section 2.3.1
		request.SetBasicAuth(url.QueryEscape(i.config.ClientID), url.QueryEscape(i.config.ClientSecret))
	}
	response, err := i.config.Client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return nil, errors.New("status 401: the issuer does not accept the id and secret, or the token, of this service")
	default:
		return nil, fmt.Errorf("status %d", response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	return parseAnswer(text)
}

var errAnswer = errors.New("the answer is no JSON object of an introspection")

// parseAnswer returns nil for a token that is not active. An answer that does not say
// whether the token is active comes from somebody else, such as a proxy.
func parseAnswer(text []byte) (*introspectionAnswer, error) {
	var says struct {
		Active *bool `json:"active"`
	}
	if err := json.Unmarshal(text, &says); err != nil || says.Active == nil {
		return nil, errAnswer
	}
	if !*says.Active {
		return nil, nil
	}
	answer := new(introspectionAnswer)
	if err := json.Unmarshal(text, answer); err != nil {
		return nil, errAnswer
	}
	return answer, nil
}

const maxRedirects = 5

// checkRedirect keeps the token from other hosts, and from the open network.
func checkRedirect(next *http.Request, before []*http.Request) error {
	from, to := before[len(before)-1].URL, next.URL
	secured := from.Scheme == "http" && to.Scheme == "https" && strings.EqualFold(from.Hostname(), to.Hostname())
	switch {
	case len(before) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case secured, from.Scheme == to.Scheme && strings.EqualFold(from.Host, to.Host):
		return nil
	}
	return errors.New("redirects to another host, or from https to http, are not followed")
}
