package tokens

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzParsePublished: whatever an issuer answers, only public keys of the allowed
// algorithms come out.
func FuzzParsePublished(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","kid":"a","k":"AAAA"},{"kty":"EC","kid":"b","crv":"P-256","x":"","y":""},null]}`))
	f.Add([]byte(`{"kty":"OKP","crv":"Ed25519","kid":"a","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parsePublished(text, []Algorithm{EdDSA, ES256})
		if err != nil {
			require.Empty(t, keys)
			return
		}
		require.NotEmpty(t, keys)
		for _, key := range keys {
			require.False(t, key.CanSign())
			require.Contains(t, []Algorithm{EdDSA, ES256}, key.Algorithm())
		}
	})
}
