package tokens

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
	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v2/jwk"
)

// refresh fetches the keys again and again until its context ends.
func (r *RemoteVerifier) refresh(ctx context.Context) {
	defer close(r.done)
	for ; ; r.fetches.begin() {
		wait := r.config.Interval
		err := r.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		r.fetched.Add(1)
		if err != nil {
			r.fetchesFailed.Add(1)
			r.config.Logger.Warn("the keys of the issuer cannot be fetched; those that were fetched before stay in force", "url", r.config.URL, "error", err)
			wait = min(wait, r.config.RetryInterval)
		}
		r.fetches.end(r.verifier.keys.set(), err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-r.fetches.wanted:
			timer.Stop()
		}
	}
}

// fetch fetches the published keys and puts them in force. If it returns an error, the
// old keys stay in force.
func (r *RemoteVerifier) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.config.URL, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := r.config.Client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the issuer answers with status %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxSetBytes+1))
	if err != nil {
		return err
	}
	if len(body) > maxSetBytes {
		return fmt.Errorf("the answer is longer than %d bytes", maxSetBytes)
	}
	keys, repeated, err := parsePublished(body, r.config.Algorithms)
	if err != nil {
		return err
	}
	set, err := newKeySet(keys)
	if err != nil {
		return err
	}
	r.verifier.keys.current.Store(set)
	if len(repeated) > 0 {
		r.config.Logger.Warn("the issuer publishes several keys with one id; none of them is used", "url", r.config.URL, "ids", repeated)
	}
	if len(keys) == 0 {
		r.config.Logger.Warn("the issuer publishes no key that can be used, so all tokens are refused; the issuer may sign with HS512, whose secret cannot be published", "url", r.config.URL)
	}
	return nil
}

// parsePublished returns the keys of a JWK set that can be used. It skips other keys,
// which an issuer may publish too (RFC 7517 section 5).
//
// If several usable keys have one id, it skips them all and returns the id in repeated.
// Such an id does not say which key signed a token, and the order of the set must not
// decide which key is in force.
func parsePublished(text []byte, algorithms []Algorithm) (keys []*Key, repeated []string, err error) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if json.Unmarshal(text, &set) != nil || set.Keys == nil {
		return nil, nil, errors.New("the answer is not a JWK set")
	}
	count := make(map[string]int)
	for _, text := range set.Keys {
		entry, err := jwk.ParseKey(text)
		if err != nil {
			continue
		}
		public, err := entry.PublicKey() // if somebody published a private key, it only verifies
		if err != nil || entry.KeyID() == "" {
			continue
		}
		key, err := fromJWK(public)
		if err != nil || !slices.Contains(algorithms, key.algorithm) {
			continue
		}
		if count[key.id]++; count[key.id] == 2 {
			repeated = append(repeated, key.id)
		}
		keys = append(keys, key)
	}
	keys = slices.DeleteFunc(keys, func(key *Key) bool { return count[key.id] > 1 })
	return keys, repeated, nil
}

const maxRedirects = 10

// checkRedirect allows redirects to the same host and port, and from http to https
// on the same host.
func checkRedirect(next *http.Request, before []*http.Request) error {
	from, to := before[len(before)-1].URL, next.URL
	switch {
	case len(before) >= maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case !strings.EqualFold(from.Hostname(), to.Hostname()):
		return errors.New("redirects to another host are not followed")
	case from.Scheme == "http" && to.Scheme == "https":
		return nil
	case from.Scheme != to.Scheme:
		return errors.New("redirects from https to http are not followed")
	case port(from) != port(to):
		return errors.New("redirects to another port are not followed")
	}
	return nil
}

func port(location *url.URL) string {
	switch port := location.Port(); {
	case port != "":
		return port
	case location.Scheme == "https":
		return "443"
	}
	return "80"
}
