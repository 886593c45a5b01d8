package boltstore_test

import (
	"context"
	"testing"
)

// waitedContext ends as soon as somebody asks for its Done channel a second time. With it, a
// waiting caller gives up without a sleep in the test.
type waitedContext struct {
	context.Context
	cancel context.CancelFunc
}

func (c *waitedContext) Done() <-chan struct{} {
	c.cancel()
	return c.Context.Done()
}

func contextThatEndsWhenWaitedFor(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	return &waitedContext{ctx, cancel}, cancel
}
