package middleware

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/maypok86/otter/v2"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// IntrospectionConfig configures an [Introspection].
type IntrospectionConfig struct {
	// URL is the introspection endpoint of the issuer. Required. Use https beyond
	// loopback: the client secret and the tokens cross the network.
	URL string
	// ClientID and ClientSecret authenticate this service as a confidential client
	// (RFC 6749 section 2.3.1). Either they or Token is required.
	ClientID, ClientSecret string
	// Token returns an access token for this service, of an account that may
	// introspect. It is called for each question and must be safe for concurrent use.
	Token func(ctx context.Context) (string, error)
	// Audience, if set, must be among the audiences of the tokens.
	Audience string

	// CacheFor is how long an answer that a token is good may be used again. What the
	// issuer revokes then works here for as long. The default is 0: each request
	// asks. Answers that a token is not good are never kept.
	CacheFor time.Duration
	// Client asks. The default has a timeout of 5 seconds.
	//
	// A redirect may lead to the same host and port, or from http to https on the
	// same host. No other redirect is followed, because the server there would learn
	// the token and could answer what it likes. If Client has its own CheckRedirect,
	// that decides instead.
	Client *http.Client
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// Introspection asks the introspection endpoint of an issuer in another process (RFC
// 7662). Use it as both the Verifier and the Accounts of [Config] where a service must
// know at once that a session has ended, or needs groups, or where the issuer signs
// with HS512. The accounts it finds have an ID, a Name and Groups.
//
// A token that the issuer calls inactive is refused. If the issuer does not answer, or
// refuses to answer this service, that is an outage. It is safe for concurrent use.
//
// The issuer does not tell the generation of a session. The Generation of a token is
// here a negative number that no other answer has. It leads FindBySession to the
// answer that Verify has used for the same request.
type Introspection struct {
	config IntrospectionConfig
	// answers counts the good answers.
	answers atomic.Int64
	// byToken holds the last good answer about each token, for CacheFor.
	byToken *otter.Cache[string, *introspected]
	// byRef holds the answers that Verify has used. A reference names one answer, so
	// no other request can replace it, neither one that asked earlier nor one with
	// another token of the session. Whoever finds an answer here finds their own.
	byRef *otter.Cache[store.SessionRef, *introspected]
}

var (
	_ Verifier      = (*Introspection)(nil)
	_ AccountFinder = (*Introspection)(nil)
)

// introspected is an answer that a token is good.
type introspected struct {
	compact string
	token   tokens.AccessToken
	ref     store.SessionRef
	account *store.Account
	asked   time.Time
}

const (
	maxAnswer  = 64 << 10
	maxAnswers = 10_000
)

// NewIntrospection checks the whole configuration and returns one error that names
// each wrong field. It does not ask yet.
func NewIntrospection(config IntrospectionConfig) (*Introspection, error) {
	var problems []string
	location, err := url.Parse(config.URL)
	if err != nil || location.Host == "" || location.User != nil || location.Scheme != "https" && location.Scheme != "http" {
		problems = append(problems, "URL must be an absolute http or https URL without user")
	}
	byClient := config.ClientID != "" && config.ClientSecret != ""
	if byClient == (config.Token != nil) || !byClient && config.ClientID+config.ClientSecret != "" {
		problems = append(problems, "either ClientID and ClientSecret or Token is required")
	}
	if config.CacheFor < 0 {
		problems = append(problems, "CacheFor must not be negative")
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("middleware: introspection configuration: %s", strings.Join(problems, "; "))
	}
	client := *cmp.Or(config.Client, &http.Client{Timeout: 5 * time.Second})
	if client.CheckRedirect == nil {
		client.CheckRedirect = checkRedirect
	}
	config.Client = &client
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Introspection{config: config, byToken: newAnswers[string](), byRef: newAnswers[store.SessionRef]()}, nil
}

func newAnswers[K comparable]() *otter.Cache[K, *introspected] {
	return otter.Must(&otter.Options[K, *introspected]{
		MaximumSize: maxAnswers,
		// Upkeep runs on the goroutine that finds it due, not on one of its own.
		Executor: func(work func()) { work() },
	})
}

// errInactive says what the issuer has answered.
var errInactive = fmt.Errorf("%w: the issuer says that the token is not active", tokens.ErrInvalid)

// Verify asks the issuer about a token, unless an answer may be used again. It
// returns an error that matches tokens.ErrInvalid if the token is not good.
func (i *Introspection) Verify(ctx context.Context, token string) (tokens.AccessToken, error) {
	if !isToken68(token) {
		return tokens.AccessToken{}, tokens.ErrMalformed
	}
	answer, found := i.byToken.GetIfPresent(token)
	if !found || !i.isRecent(answer) {
		var err error
		if answer, err = i.ask(ctx, token); err != nil {
			return tokens.AccessToken{}, err
		}
	}
	i.byRef.Set(answer.ref, answer)
	return answer.token, nil
}

// isRecent reports whether an answer may be used again.
func (i *Introspection) isRecent(answer *introspected) bool {
	now := i.config.Now()
	age := now.Sub(answer.asked)
	expiry := answer.token.Expiry
	return age >= 0 && age < i.config.CacheFor && (expiry.IsZero() || now.Before(expiry))
}

// FindBySession returns the account that the answer to Verify has named. ref must be
// made from the token that Verify has returned, with its Generation.
func (i *Introspection) FindBySession(_ context.Context, ref store.SessionRef) (*store.Account, error) {
	answer, found := i.byRef.GetIfPresent(ref)
	if !found {
		return nil, fmt.Errorf("%w: the token was not verified here, or too long ago", store.ErrUnavailable)
	}
	return answer.account, nil
}

// FindBySessionFresh asks the issuer again about the token that ref was made from. It
// returns seen if every request asks, or if the token was verified too long ago.
func (i *Introspection) FindBySessionFresh(ctx context.Context, ref store.SessionRef, seen *store.Account) (*store.Account, error) {
	answer, found := i.byRef.GetIfPresent(ref)
	if i.config.CacheFor == 0 || !found {
		return seen, nil
	}
	fresh, err := i.ask(ctx, answer.compact)
	if errors.Is(err, tokens.ErrInvalid) {
		return nil, store.ErrSessionEnded
	}
	if err != nil {
		return nil, err
	}
	return fresh.account, nil
}

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

// post sends the question. It returns nil for a token that is not active. Any answer but 200 is an outage: 401 means that this
// service may not ask, and says nothing about the token.
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
	if response.StatusCode != http.StatusOK {
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
