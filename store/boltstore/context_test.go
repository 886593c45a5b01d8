package boltstore_test

import (
	"context"
	"testing"
)

// waitedContext ends as soon as somebody asks for its Done channel a second time,
// so that a test needs no sleep to have a waiting caller give up.
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
