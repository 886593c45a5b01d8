package tiny

import (
	"testing"
	"time"
)

func TestPause(t *testing.T) {
	if Pause(time.Second, 3) != 3*time.Second {
		t.Error("not three seconds")
	}
}

func TestClass(t *testing.T) {
	for n, class := range map[int]string{-1: "negative", 0: "zero", 1: "positive"} {
		if Class(n) != class {
			t.Error(n, "is not", class)
		}
	}
}

func TestSum(t *testing.T) {
	if Sum(4) != 4 {
		t.Error("not four")
	}
}

func TestSlowLeast(t *testing.T) {
	if Least(1, 2) != 1 || Least(2, 1) != 1 {
		t.Error("not the least")
	}
}

func TestCall(t *testing.T) {
	c := counter{make(map[string]amount)}
	if c.Call("x"); c.Call("x") != 0 {
		t.Error("not two calls")
	}
}
