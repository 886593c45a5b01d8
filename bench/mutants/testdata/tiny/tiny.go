// Package tiny has code for each kind of fault, and tests that notice some.
package tiny

import clock "time"

const most = 3 - 1

type amount int

type counter struct{ calls map[string]amount }

var start = -amount(most)

// Pause has a type that the file imports under another name.
func Pause(each clock.Duration, times int) clock.Duration {
	return each * clock.Duration(times)
}

// Class has faults in case expressions.
func Class(n int) string {
	switch {
	case n < 0:
		return "negative"
	case n == 0:
		return "zero"
	}
	return "positive"
}

// Sum runs forever if it counts down.
func Sum(n uint) (sum uint) {
	for i := uint(0); i != n; i++ {
		sum = sum + 1<<n>>n
	}
	return sum
}

// Least makes no difference between equal values.
func Least[T int | float64](a, b T) T {
	if a < b {
		return a
	}
	return b
}

// Call counts in a map.
func (c *counter) Call(name string) amount {
	c.calls[name]++
	return c.calls[name] + start
}

// Unused is not called by any test.
func Unused() {
	if caught := recover(); caught != nil {
		panic(caught)
	}
}

// Outside is only called by the tests of another package.
func Outside(text string) int { return -len(text) }
