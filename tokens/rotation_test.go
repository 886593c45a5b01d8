package tokens_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

// loadKeyring reads the keys of a file and makes a keyring of them.
func loadKeyring(t *testing.T, path string) (*tokens.Keyring, []*tokens.Key) {
	t.Helper()
	keys, err := tokens.LoadKeys(path)
	require.NoError(t, err)
	ring, err := tokens.NewKeyring(keys...)
	require.NoError(t, err)
	return ring, keys
}

func TestKeyFileRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.key")
	require.NoError(t, os.WriteFile(path, secret, 0o600))
	now := epoch
	file := tokens.KeyFile{Path: path, Now: func() time.Time { return now }}
	ring, keys := loadKeyring(t, path)
	k := newKit(t, keys...)
	first := ring.Active()
	old, err := k.issuer.SignAccess(claims)
	require.NoError(t, err)
	oldRefresh, err := k.issuer.SignRefresh(claims)
	require.NoError(t, err)

	added, err := file.Add(tokens.EdDSA)
	require.NoError(t, err)
	assert.Equal(t, tokens.Next, added.State())
	_, keys = loadKeyring(t, path)
	require.Len(t, keys, 2)
	require.NoError(t, k.keys.Replace(keys...))
	assert.Equal(t, first.ID(), k.keys.Active().ID(), "a next key does not sign, and a raw secret keeps its id")
	published, err := k.keys.PublicJWKSet(epoch)
	require.NoError(t, err)
	assert.Contains(t, string(published), added.ID())
	assert.NotContains(t, string(published), first.ID())
	assert.NotContains(t, string(published), "oauthsv_state")
	assert.NotContains(t, string(published), `"d"`)
	assert.NoError(t, k.verify(old))

	require.NoError(t, file.Activate(added.ID(), time.Hour))
	_, keys = loadKeyring(t, path)
	require.NoError(t, k.keys.Replace(keys...))
	assert.Equal(t, added.ID(), k.keys.Active().ID())
	assert.NoError(t, k.verify(old), "a retired key verifies")
	_, err = k.issuer.VerifyRefresh(oldRefresh)
	assert.NoError(t, err)
	fresh, err := k.issuer.SignAccess(claims)
	require.NoError(t, err)
	assert.NoError(t, k.verify(fresh))
	for _, key := range keys {
		if key.ID() == first.ID() {
			assert.Equal(t, tokens.Retired, key.State())
			assert.Equal(t, epoch.Add(time.Hour), key.VerifyUntil())
		}
	}

	longLived := claims
	longLived.Expiry = epoch.Add(24 * time.Hour)
	require.NoError(t, k.keys.Replace(first))
	late, err := k.issuer.SignAccess(longLived)
	require.NoError(t, err)
	require.NoError(t, k.keys.Replace(keys...))
	k.now = epoch.Add(time.Hour - 1)
	assert.NoError(t, k.verify(late))
	k.now = epoch.Add(time.Hour)
	assert.ErrorIs(t, k.verify(late), tokens.ErrUnknownKey, "a retired key verifies no more after its end")
	_, err = k.issuer.VerifyForRevocation(late)
	assert.NoError(t, err, "but it still verifies for revocation")

	now = epoch.Add(2 * time.Hour)
	third, err := file.Add(tokens.HS512)
	require.NoError(t, err)
	_, keys = loadKeyring(t, path)
	assert.Len(t, keys, 2, "a retired key that has reached its end is dropped")
	require.NoError(t, file.Remove(third.ID()))
	_, keys = loadKeyring(t, path)
	assert.Len(t, keys, 1)

	assert.ErrorIs(t, file.Retire(added.ID(), time.Hour), tokens.ErrKey, "the active key")
	assert.ErrorIs(t, file.Retire("nobody", time.Hour), tokens.ErrKey)
	spare, err := file.Add(tokens.HS512)
	require.NoError(t, err)
	assert.ErrorIs(t, file.Retire(spare.ID(), 0), tokens.ErrKey)
	require.NoError(t, file.Retire(spare.ID(), 1))
	_, keys = loadKeyring(t, path)
	require.Len(t, keys, 2)
	require.NoError(t, file.Remove(spare.ID()))
	_, keys = loadKeyring(t, path)
	assert.ErrorIs(t, file.Remove(added.ID()), tokens.ErrKey, "the active key")
	assert.ErrorIs(t, file.Remove("nobody"), tokens.ErrKey)
	assert.ErrorIs(t, file.Activate("nobody", time.Hour), tokens.ErrKey)
	_, err = file.Add("HS256")
	assert.ErrorIs(t, err, tokens.ErrKey)
	_, again := loadKeyring(t, path)
	assert.Equal(t, keys[0].ID(), again[0].ID(), "a refused change changes nothing")
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

func TestKeyStatesInFiles(t *testing.T) {
	jwk := func(state string) string {
		return `{"kty":"oct","kid":"` + state + `","k":"` + strings.Repeat("AQIDBAUGBwgJCgsMDQ4P", 5) + `","oauthsv_state":"` + state + `"}`
	}
	keys, err := tokens.ParseKeys([]byte(`{"keys":[` + jwk("retired") + `,` + jwk("next") + `,` + jwk("active") + `]}`))
	require.NoError(t, err)
	ring, err := tokens.NewKeyring(keys...)
	require.NoError(t, err)
	assert.Equal(t, "active", ring.Active().ID())
	ring, err = tokens.NewKeyring(keys[0], keys[1])
	require.NoError(t, err)
	assert.Nil(t, ring.Active())

	_, err = tokens.ParseKeys([]byte(jwk("sleeping")))
	assert.ErrorIs(t, err, tokens.ErrKey)
	_, err = tokens.ParseKeys([]byte(strings.Replace(jwk("active"), `"oauthsv_state"`, `"oauthsv_verify_until":"2026-01-02T03:04:05Z","oauthsv_state"`, 1)))
	assert.ErrorIs(t, err, tokens.ErrKey)
	_, err = tokens.ParseKeys([]byte(strings.Replace(jwk("retired"), `"oauthsv_state"`, `"oauthsv_verify_until":"soon","oauthsv_state"`, 1)))
	assert.ErrorIs(t, err, tokens.ErrKey)
	second, err := tokens.ParseKeys([]byte(strings.Replace(jwk("active"), `"kid":"active"`, `"kid":"other"`, 1)))
	require.NoError(t, err)
	_, err = tokens.NewKeyring(keys[2], second[0])
	assert.ErrorIs(t, err, tokens.ErrKey, "two active keys")
}

// TestEditOfAKeyFileKeepsStates: an edit changes the state of its own key alone. It only writes down
// what was meant where the file had no states.
func TestEditOfAKeyFileKeepsStates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.key")
	var set []string
	for range 2 {
		text, err := generate(t, tokens.HS512).PrivateJWK()
		require.NoError(t, err)
		set = append(set, string(text))
	}
	require.NoError(t, os.WriteFile(path, []byte(`{"keys":[`+strings.Join(set, ",")+`]}`), 0o600))
	states := func() (states []tokens.State) {
		_, keys := loadKeyring(t, path)
		for _, key := range keys {
			states = append(states, key.State())
		}
		return states
	}
	file := tokens.KeyFile{Path: path}
	assert.Equal(t, []tokens.State{"", ""}, states())
	for range 2 {
		_, err := file.Add(tokens.HS512)
		require.NoError(t, err)
	}
	assert.Equal(t, []tokens.State{tokens.Active, tokens.Retired, tokens.Next, tokens.Next}, states())
}

func TestVerifyAny(t *testing.T) {
	k := newKit(t)
	access, err := k.issuer.SignAccess(claims)
	require.NoError(t, err)
	refresh, err := k.issuer.SignRefresh(claims)
	require.NoError(t, err)
	k.now = epoch.Add(1000 * time.Hour)
	for _, token := range []string{access, refresh} {
		got, err := k.issuer.VerifyForRevocation(token)
		require.NoError(t, err)
		assert.Equal(t, claims.SessionID, got.SessionID)
	}
	other := newKit(t, func() *tokens.Key { key, _ := tokens.GenerateKey(tokens.EdDSA); return key }())
	for _, token := range []string{access, refresh, "", "x", access + "x"} {
		_, err := other.issuer.VerifyForRevocation(token)
		assert.ErrorIs(t, err, tokens.ErrInvalid)
	}
}

func TestKeyFileAddMakesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.key")
	file := tokens.KeyFile{Path: path}
	first, err := file.Add(tokens.ES256)
	require.NoError(t, err)
	assert.Equal(t, tokens.Active, first.State(), "a server can start with the file")
	ring, _ := loadKeyring(t, path)
	assert.Equal(t, first.ID(), ring.Active().ID())
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	second, err := file.Add(tokens.EdDSA)
	require.NoError(t, err)
	assert.Equal(t, tokens.Next, second.State())
	ring, keys := loadKeyring(t, path)
	assert.Len(t, keys, 2)
	assert.Equal(t, first.ID(), ring.Active().ID())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1)

	assert.ErrorIs(t, (&tokens.KeyFile{Path: path + "2"}).Activate("nobody", time.Hour), os.ErrNotExist)
}

func TestKeyFileKeepsOneKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.key")
	const public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n"
	require.NoError(t, os.WriteFile(path, []byte(public), 0o600))
	_, keys := loadKeyring(t, path)
	file := tokens.KeyFile{Path: path}
	assert.ErrorIs(t, file.Remove(keys[0].ID()), tokens.ErrKey, "a file without a key cannot be read again")
	loadKeyring(t, path)
}

// TestRetiredKeyIsPublishedUntilItsEnd: after that, all tokens of the key are refused, so
// others need it no more.
func TestRetiredKeyIsPublishedUntilItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.key")
	file := tokens.KeyFile{Path: path, Now: func() time.Time { return epoch }}
	first, err := file.Add(tokens.EdDSA)
	require.NoError(t, err)
	second, err := file.Add(tokens.HS512)
	require.NoError(t, err)
	require.NoError(t, file.Activate(second.ID(), time.Hour))
	ring, _ := loadKeyring(t, path)
	for _, test := range []struct {
		now       time.Time
		published bool
	}{{epoch, true}, {epoch.Add(time.Hour - 1), true}, {epoch.Add(time.Hour), false}, {epoch.Add(time.Hour * 1000), false}} {
		text, err := ring.PublicJWKSet(test.now)
		require.NoError(t, err)
		assert.Equal(t, test.published, strings.Contains(string(text), first.ID()), test.now)
		assert.Equal(t, test.published, ring.HasPublicKey(test.now))
		assert.NotContains(t, string(text), second.ID(), "a secret is never published")
	}
}

// TestReloadTakesOnlyGoodFiles: a server takes over the changes of an operator, but no
// broken file.
func TestReloadTakesOnlyGoodFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.key")
	file := tokens.KeyFile{Path: path, Now: func() time.Time { return epoch }, Logger: slog.New(slog.DiscardHandler)}
	ring, err := tokens.OpenKeyring(file)
	require.NoError(t, err)
	assert.True(t, ring.Created())
	first := ring.Active()
	assert.Equal(t, tokens.HS512, first.Algorithm())
	again, err := tokens.OpenKeyring(file)
	require.NoError(t, err)
	assert.False(t, again.Created())
	assert.Equal(t, first.ID(), again.Active().ID())

	changes, err := ring.Reload()
	require.NoError(t, err)
	assert.Empty(t, changes)
	second, err := file.Add(tokens.EdDSA)
	require.NoError(t, err)
	changes, err = ring.Reload()
	require.NoError(t, err)
	assert.Equal(t, tokens.KeyChanges{Added: []string{second.ID() + " EdDSA next"}}, changes)
	require.NoError(t, file.Activate(second.ID(), time.Hour))
	changes, err = ring.Reload()
	require.NoError(t, err)
	assert.Equal(t, tokens.KeyChanges{
		Added:   []string{first.ID() + " HS512 retired until 2026-01-02T04:04:05Z", second.ID() + " EdDSA active"},
		Removed: []string{first.ID() + " HS512 active", second.ID() + " EdDSA next"},
	}, changes)
	inForce := ring.Describe()

	public, err := ring.PublicJWKSet(epoch)
	require.NoError(t, err)
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	for name, content := range map[string]string{
		"empty": "", "cut": string(good[:len(good)/2]), "no key that signs": string(public), "short": "secret",
	} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := ring.Reload()
		require.ErrorIs(t, err, tokens.ErrKey, name)
		assert.ErrorContains(t, err, path)
		assert.Equal(t, inForce, ring.Describe(), "the old keys stay in force")
	}
	require.NoError(t, os.Remove(path))
	_, err = ring.Reload()
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, inForce, ring.Describe())

	// A service that only verifies may read public keys. It makes no file.
	_, err = tokens.OpenKeyring(tokens.KeyFile{Path: path, VerifyOnly: true})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, public, 0o600))
	_, err = tokens.OpenKeyring(tokens.KeyFile{Path: path})
	require.ErrorIs(t, err, tokens.ErrKey)
	ring, err = tokens.OpenKeyring(tokens.KeyFile{Path: path, VerifyOnly: true})
	require.NoError(t, err)
	assert.Equal(t, []string{second.ID() + " EdDSA verifies"}, ring.Describe())
	_, err = ring.Reload()
	require.NoError(t, err)

	byHand, err := tokens.NewKeyring(first)
	require.NoError(t, err)
	_, err = byHand.Reload()
	assert.ErrorIs(t, err, tokens.ErrKey, "there is no file to read")
}

func TestKeyringWithoutKeys(t *testing.T) {
	ring := new(tokens.Keyring)
	assert.Nil(t, ring.Active())
	assert.Empty(t, ring.Keys())
	published, err := ring.PublicJWKSet(epoch)
	require.NoError(t, err)
	assert.JSONEq(t, `{"keys":[]}`, string(published))
	verifier, err := tokens.NewVerifier(tokens.VerifierConfig{Keys: ring, Issuer: issuerURL})
	require.NoError(t, err)
	token := signAccess(t, generate(t, tokens.EdDSA))
	_, err = verifier.Verify(t.Context(), token)
	assert.ErrorIs(t, err, tokens.ErrUnknownKey)
}

// TestAddKeepsTheAlgorithm: services that fetch the public keys go on verifying, unless
// an operator asks for another algorithm.
func TestAddKeepsTheAlgorithm(t *testing.T) {
	public, err := tokens.NewKeyring(generate(t, tokens.ES256))
	require.NoError(t, err)
	published, err := public.PublicJWKSet(epoch)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		content     []byte
		asked, want tokens.Algorithm
	}{
		"no file":            {nil, "", tokens.HS512},
		"no file, asked":     {nil, tokens.ES256, tokens.ES256},
		"a secret":           {secret, "", tokens.HS512},
		"a secret, asked":    {secret, tokens.EdDSA, tokens.EdDSA},
		"EdDSA":              {privateJWK(t, tokens.EdDSA), "", tokens.EdDSA},
		"EdDSA, asked":       {privateJWK(t, tokens.EdDSA), tokens.HS512, tokens.HS512},
		"ES256":              {privateJWK(t, tokens.ES256), "", tokens.ES256},
		"no key that signs":  {published, "", ""},
		"no such algorithm":  {secret, "HS256", ""},
		"none, no such file": {nil, "HS256", ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.key")
			if test.content != nil {
				require.NoError(t, os.WriteFile(path, test.content, 0o600))
			}
			added, err := (&tokens.KeyFile{Path: path}).Add(test.asked)
			if test.want == "" {
				require.ErrorIs(t, err, tokens.ErrKey)
				assert.ErrorContains(t, err, "algorithm")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.want, added.Algorithm())
			assert.Equal(t, added.ID(), keyWithID(t, path, added.ID()).ID())
		})
	}
}

func privateJWK(t *testing.T, algorithm tokens.Algorithm) []byte {
	t.Helper()
	text, err := generate(t, algorithm).PrivateJWK()
	require.NoError(t, err)
	return text
}

func keyWithID(t *testing.T, path, id string) *tokens.Key {
	t.Helper()
	_, keys := loadKeyring(t, path)
	for _, key := range keys {
		if key.ID() == id {
			return key
		}
	}
	require.Fail(t, "no such key", id)
	return nil
}

// TestChangeToASecretIsWarnedOf: nobody can verify tokens of a secret with public keys.
func TestChangeToASecretIsWarnedOf(t *testing.T) {
	for _, test := range []struct {
		old, next tokens.Algorithm
		warned    bool
	}{
		{tokens.EdDSA, tokens.HS512, true}, {tokens.ES256, tokens.HS512, true},
		{tokens.EdDSA, tokens.ES256, false}, {tokens.HS512, tokens.HS512, false}, {tokens.HS512, tokens.EdDSA, false},
	} {
		var log strings.Builder
		path := filepath.Join(t.TempDir(), "test.key")
		file := tokens.KeyFile{Path: path, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		first, err := file.Add(test.old)
		require.NoError(t, err)
		require.NoError(t, file.Activate(first.ID(), time.Hour))
		added, err := file.Add(test.next)
		require.NoError(t, err)
		assert.Empty(t, log.String())
		require.NoError(t, file.Activate(added.ID(), time.Hour))
		warned := strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), path) &&
			strings.Contains(log.String(), "services that fetch the public keys can no longer verify new tokens")
		assert.Equal(t, test.warned, warned, "%s to %s: %s", test.old, test.next, &log)
		log.Reset()
		require.NoError(t, file.Activate(added.ID(), time.Hour))
		assert.Empty(t, log.String(), "the key is active already")
	}
}

// TestIgnoredAlgorithmIsWarnedOf: KeyFile.Algorithm changes no file that exists.
func TestIgnoredAlgorithmIsWarnedOf(t *testing.T) {
	for _, test := range []struct {
		content   []byte
		algorithm tokens.Algorithm
		warning   string
	}{
		{secret, tokens.EdDSA, "the key file exists and its active key is HS512; Algorithm is only for a new file"},
		{privateJWK(t, tokens.ES256), tokens.HS512, "the key file exists and its active key is ES256; Algorithm is only for a new file"},
		{secret, tokens.HS512, ""}, {secret, "", ""}, {privateJWK(t, tokens.EdDSA), "", ""}, {nil, tokens.EdDSA, ""},
	} {
		path := filepath.Join(t.TempDir(), "test.key")
		if test.content != nil {
			require.NoError(t, os.WriteFile(path, test.content, 0o600))
		}
		var log strings.Builder
		ring, err := tokens.OpenKeyring(tokens.KeyFile{Path: path, Algorithm: test.algorithm, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err)
		_, err = ring.Reload()
		require.NoError(t, err)
		if test.warning == "" {
			assert.NotContains(t, log.String(), "level=WARN")
			continue
		}
		assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
		assert.Contains(t, log.String(), `msg="`+test.warning+`" file=`+path)
	}
}

// TestRetiredKeyIsActivatedAgain: it has no end then, and the file can be read.
func TestRetiredKeyIsActivatedAgain(t *testing.T) {
	file := tokens.KeyFile{Path: filepath.Join(t.TempDir(), "keys"), Now: func() time.Time { return epoch }, Logger: slog.New(slog.DiscardHandler)}
	first, err := file.Add(tokens.HS512)
	require.NoError(t, err)
	second, err := file.Add(tokens.HS512)
	require.NoError(t, err)
	require.NoError(t, file.Activate(second.ID(), time.Hour))
	require.NoError(t, file.Activate(first.ID(), time.Hour))
	ring, err := tokens.OpenKeyring(file)
	require.NoError(t, err)
	assert.Equal(t, []string{first.ID() + " HS512 active", second.ID() + " HS512 retired until 2026-01-02T04:04:05Z"}, ring.Describe())
}

// TestEndOfAKeyIsShownInUTC, whatever the zone in which somebody has written it.
func TestEndOfAKeyIsShownInUTC(t *testing.T) {
	text, err := generate(t, tokens.HS512).PrivateJWK()
	require.NoError(t, err)
	zoned := `{"oauthsv_state":"retired","oauthsv_verify_until":"2026-01-31T13:00:00+01:00",` + strings.TrimPrefix(string(text), "{")
	keys, err := tokens.ParseKeys([]byte(zoned))
	require.NoError(t, err)
	ring, err := tokens.NewKeyring(keys...)
	require.NoError(t, err)
	assert.Equal(t, []string{keys[0].ID() + " HS512 retired until 2026-01-31T12:00:00Z"}, ring.Describe())
}

// TestKeyMayDoWhatItIsFor: "key_ops" of a private key must hold "sign" (RFC 7517 section 4.3).
func TestKeyMayDoWhatItIsFor(t *testing.T) {
	text, err := generate(t, tokens.EdDSA).PrivateJWK()
	require.NoError(t, err)
	for operations, good := range map[string]bool{`["sign"]`: true, `["sign","verify"]`: true, `["verify"]`: false, `["encrypt"]`: false} {
		_, err := tokens.ParseKeys([]byte(strings.Replace(string(text), `"use":"sig"`, `"key_ops":`+operations, 1)))
		if good {
			assert.NoError(t, err, operations)
		} else {
			assert.ErrorIs(t, err, tokens.ErrKey, operations)
		}
	}
}
