package tokens

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v2/jwk"
)

func parseJWKs(data []byte) ([]*Key, error) {
	// jwx accepts a member that occurs twice, and anything after the JSON text.
	if !jsontext.Value(data).IsValid() {
		return nil, keyError("the JSON text of the JWK is cut off or damaged, or has a member twice")
	}
	set, err := jwk.Parse(data)
	if err != nil {
		// The error of jwx may quote the text, and so a secret.
		return nil, keyError("the JSON text is not a JWK or JWK set that can be read")
	}
	var keys []*Key
	for i := range set.Len() {
		entry, _ := set.Key(i)
		key, err := fromJWK(entry)
		if err != nil {
			return nil, fmt.Errorf("key %d of %d: %w", i+1, set.Len(), err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, keyError("the JWK set is empty")
	}
	return keys, nil
}

func fromJWK(entry jwk.Key) (*Key, error) {
	var raw any
	if err := entry.Raw(&raw); err != nil {
		return nil, keyError("the JWK does not hold a usable key of type %q", entry.KeyType())
	}
	if secret, ok := raw.([]byte); ok {
		if err := checkSecret(secret); err != nil {
			return nil, err
		}
	}
	key, err := newKey(entry.KeyID(), raw)
	if err != nil {
		return nil, err
	}
	if alg := entry.Algorithm().String(); alg != "" && alg != string(key.algorithm) {
		return nil, keyError(`"alg" of the JWK is %q, but its key fits only %s`, alg, key.algorithm)
	}
	if err := key.readState(entry); err != nil {
		return nil, err
	}
	if use := entry.KeyUsage(); use != "" && use != "sig" {
		return nil, keyError(`"use" of the JWK is %q, not "sig"`, use)
	}
	if operations := entry.KeyOps(); len(operations) > 0 {
		needed := jwk.KeyOpVerify
		if key.CanSign() {
			needed = jwk.KeyOpSign
		}
		if !slices.Contains(operations, needed) {
			return nil, keyError(`"key_ops" of the JWK lacks %q`, needed)
		}
	}
	return key, nil
}

// encodeJWK makes a JWK of raw, the private or the public half of the key. Only a private
// half has the state of the key in its JWK, because others do not need it.
func (k *Key) encodeJWK(raw any) ([]byte, error) {
	entry, err := jwk.FromRaw(raw)
	if err != nil {
		return nil, keyError("%v: %w", k, err)
	}
	members := map[string]string{
		jwk.KeyIDKey:     k.id,
		jwk.AlgorithmKey: string(k.algorithm),
		jwk.KeyUsageKey:  "sig",
	}
	if isPrivate, _ := jwk.IsPrivateKey(entry); isPrivate || k.algorithm == HS512 {
		if k.state != "" {
			members[memberState] = string(k.state)
		}
		if !k.until.IsZero() {
			members[memberUntil] = k.until.UTC().Format(time.RFC3339)
		}
	}
	for name, value := range members {
		if err := entry.Set(name, value); err != nil {
			return nil, keyError("%v: %w", k, err)
		}
	}
	return json.Marshal(entry)
}

// A JWK with a private key or a secret holds these members as well. RFC 7517 section
// 4 allows that.
const (
	memberState = "oauthsv_state"
	memberUntil = "oauthsv_verify_until" // RFC 3339
)

// readState reads the members that encodeJWK adds.
func (k *Key) readState(entry jwk.Key) error {
	if state, found := entry.Get(memberState); found {
		text, _ := state.(string)
		if k.state = State(text); k.state != Active && k.state != Next && k.state != Retired {
			return keyError("%q of the JWK is not one of active, next, retired", memberState)
		}
	}
	if until, found := entry.Get(memberUntil); found {
		text, _ := until.(string)
		var err error
		if k.until, err = time.Parse(time.RFC3339, text); err != nil || k.state != Retired {
			return keyError("%q of the JWK is not a time, or the key is not retired", memberUntil)
		}
	}
	return nil
}
