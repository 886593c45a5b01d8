package outside

import (
	"testing"

	"example.com/tiny"
)

func TestOutside(t *testing.T) {
	if tiny.Outside("four") != -4 {
		t.Error("not minus four")
	}
}
