package smtptest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	oauthmail "github.com/oauthsv/oauthsv/store/mail"
	"github.com/oauthsv/oauthsv/store/mail/smtptest"
)

func TestEveryKindArrives(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{User: "ann@mail", Password: password})
	log := new(syncBuffer)
	queue := newQueue(t, newSMTP(t, server), log)
	for _, kind := range store.MailKinds() {
		require.NoError(t, queue.Enqueue(ready(sample(kind))))
	}
	require.NoError(t, queue.Close(t.Context()))
	messages := server.Messages()
	require.Len(t, messages, len(store.MailKinds()))
	codes := 0
	for _, message := range messages {
		got := checkForm(t, message)
		if bytes.Contains(message.Data, []byte("\r\n"+code+"\r\n")) {
			codes++ // also in the raw message: scripts look for the line
		}
		assert.Contains(t, got.text, "Firefox/120.0")
	}
	assert.Equal(t, 3, codes)
	assert.NotContains(t, log.String(), "ann")
	assert.NotContains(t, log.String(), code)
}

// TestMailArrivesOnceTheServerIsWell again.
func TestMailArrivesOnceTheServerIsWell(t *testing.T) {
	for name, behavior := range map[string]smtptest.Behavior{
		"refused for now": smtptest.RefuseForNow, "dropped": smtptest.DropInData,
	} {
		t.Run(name, func(t *testing.T) {
			server := smtptest.Start(t, smtptest.Options{})
			server.Behave(behavior)
			log := new(syncBuffer)
			queue := newQueue(t, newSMTP(t, server), log)
			require.NoError(t, queue.Enqueue(ready(sample(store.MailPasswordReset))))
			for queue.Counts().Retried < 3 {
				time.Sleep(time.Millisecond)
			}
			server.Behave(smtptest.Accept)
			require.NoError(t, queue.Close(t.Context()))
			assert.Len(t, server.Messages(), 1)
			counts := queue.Counts()
			assert.Equal(t, int64(1), counts.Sent)
			assert.GreaterOrEqual(t, counts.Retried, int64(3))
			assert.NotContains(t, log.String(), "ann@example.com")
			assert.NotContains(t, log.String(), code)
		})
	}
}

// TestLostReplyBringsTheMailTwice: the server has it, and nobody knows.
func TestLostReplyBringsTheMailTwice(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{})
	server.Behave(smtptest.DropReply)
	queue := newQueue(t, newSMTP(t, server), io.Discard)
	require.NoError(t, queue.Enqueue(ready(sample(store.MailPasswordReset))))
	_, err := server.Wait(t.Context(), 1)
	require.NoError(t, err)
	server.Behave(smtptest.Accept)
	require.NoError(t, queue.Close(t.Context()))
	messages := server.Messages()
	require.GreaterOrEqual(t, len(messages), 2)
	for _, message := range messages {
		assert.Equal(t, read(t, messages[0]).text, read(t, message).text)
	}
}

func TestRefusedMailIsGivenUpAtOnce(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{})
	server.Behave(smtptest.Refuse)
	log := new(syncBuffer)
	queue := newQueue(t, newSMTP(t, server), log)
	require.NoError(t, queue.Enqueue(ready(sample(store.MailPasswordReset))))
	require.NoError(t, queue.Close(t.Context()))
	assert.Equal(t, 1, server.Connections())
	assert.Equal(t, oauthmail.Counts{Failed: 1}, queue.Counts())
	assert.Contains(t, log.String(), `"msg":"mail_failed","tries":1,"kind":"password_reset","error":"mail: rejected: `)
	assert.NotContains(t, log.String(), "ann@example.com")
}

// TestCloseDoesNotWaitForASlowServer longer than its context allows.
func TestCloseDoesNotWaitForASlowServer(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{})
	server.Behave(smtptest.Slow)
	queue := newQueue(t, newSMTP(t, server), io.Discard)
	for range 5 {
		require.NoError(t, queue.Enqueue(ready(sample(store.MailNewLogin))))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, queue.Close(ctx), "5 lost")
	assert.Equal(t, oauthmail.Counts{Failed: 5}, queue.Counts())
}

func TestManyCallersAndARoughServer(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{TLS: smtptest.NoTLS})
	queue := newQueue(t, newSMTP(t, server), io.Discard)
	var callers sync.WaitGroup
	for i := range 5 {
		callers.Go(func() {
			for j := range 10 {
				m := sample(store.MailNewLogin)
				m.To = fmt.Sprintf("ann%d%d@example.com", i, j)
				assert.NoError(t, queue.Enqueue(ready(m)))
				server.Behave([]smtptest.Behavior{smtptest.Accept, smtptest.RefuseForNow, smtptest.DropInData}[(i+j)%3])
			}
		})
	}
	callers.Wait()
	server.Behave(smtptest.Accept)
	require.NoError(t, queue.Close(t.Context()))
	arrived := make(map[string]int)
	for _, message := range server.Messages() {
		arrived[message.To[0]]++
	}
	assert.Len(t, arrived, 50, "each mail once")
	assert.Len(t, server.Messages(), 50)
	assert.Equal(t, int64(50), queue.Counts().Sent)
}

type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
