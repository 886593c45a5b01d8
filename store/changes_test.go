package store_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/oauthsv/oauthsv/store"
)

// TestFieldsOfChangesAreNamedAsInJSON: an event tells by these names what an administrator changed.
func TestFieldsOfChangesAreNamedAsInJSON(t *testing.T) {
	text, yes := "x", true
	for want, changes := range map[string]store.Changes{
		"":                                   {},
		"name":                               {Name: &text},
		"email":                              {Email: &text},
		"phone":                              {Phone: &text},
		"password":                           {Password: &text},
		"disabled":                           {Disabled: &yes},
		"name email phone password disabled": {Name: &text, Email: &text, Phone: &text, Password: &text, Disabled: &yes},
	} {
		assert.Equal(t, want, strings.Join(changes.Fields(), " "))
	}
}
