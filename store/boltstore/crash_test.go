package boltstore_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

func init() { children["crash"] = writeUntilKilled }

const (
	crashWriters = 8
	crashKeys    = 40 // for each writer
)

// crashAccount returns the account of a writer's key after its write number n.
func crashAccount(writer, key, n int) *store.Account {
	made := account(writer*crashKeys + key)
	made.Groups = []string{fmt.Sprint("write-", n)}
	made.PasswordHash = strings.Repeat("x", n%1500)
	return made
}

// writeUntilKilled runs several writers, each with its own keys. It prints a line before each
// write, "begin WRITER KEY N KIND", and one after the write succeeded, "done WRITER KEY N
// KIND". Kinds are put, delete and record.
func writeUntilKilled(path string) error {
	backend, err := boltstore.Open(path, boltstore.Config{})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(what string, writer, key, n int, kind string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(what, writer, key, n, kind)
	}
	failed := make(chan error)
	for writer := range crashWriters {
		random := rand.New(rand.NewPCG(uint64(writer), uint64(os.Getpid())))
		go func() {
			for n := 1; ; n++ {
				key := random.IntN(crashKeys)
				kind := []string{"put", "put", "put", "delete", "record", "record"}[random.IntN(6)]
				say("begin", writer, key, n, kind)
				if err := crashWrite(backend, writer, key, n, kind); err != nil {
					failed <- err
					return
				}
				say("done", writer, key, n, kind)
			}
		}()
	}
	return <-failed
}

func crashWrite(backend store.Backend, writer, key, n int, kind string) error {
	next := crashAccount(writer, key, n)
	switch kind {
	case "put":
		err := backend.Update(bg, next.ID, func(a *store.Account) error {
			*a = *next
			return nil
		})
		if errors.Is(err, store.ErrNotFound) {
			err = backend.Create(bg, next)
		}
		return err
	case "delete":
		if err := backend.Delete(bg, next.ID); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return nil
	}
	return backend.UpdateRecord(bg, crashRecord(writer, key), epoch, func(r *store.Record) error {
		r.Value, r.Expires = fmt.Append(nil, n), epoch.Add(time.Duration(n)*time.Second)
		return nil
	})
}

// idBefore returns the id before another one, in the form that lists use.
func idBefore(id store.ID) string {
	for at := len(id) - 1; ; at-- {
		if id[at]--; id[at] != 0xFF {
			return id.Hex()
		}
	}
}

func crashRecord(writer, key int) string { return fmt.Sprintf("record-%d-%d", writer, key) }

// TestKillLosesNothing kills a process that writes, with SIGKILL at random moments. Then it
// looks for each write that succeeded. All kills are over one file.
//
// OAUTHSV_TEST_KILLS is how many kills there are, 5 by default.
func TestKillLosesNothing(t *testing.T) {
	kills := number(t, "OAUTHSV_TEST_KILLS", 5)
	directory := t.TempDir()
	path := filepath.Join(directory, "test.db")
	random := rand.New(rand.NewPCG(7, 8))
	expected := crashState{accounts: map[string]string{}, records: map[string]string{}}
	acknowledged, lost := 0, 0
	for range kills {
		command := child(t, "crash", path)
		output, err := command.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, command.Start())
		pending := map[string]string{} // begun, with an unknown result
		lines := bufio.NewScanner(output)
		answered, last := 0, 1+random.IntN(1500)
		for lines.Scan() {
			var what, kind string
			var writer, key, n int
			if _, err := fmt.Sscan(lines.Text(), &what, &writer, &key, &n, &kind); err != nil {
				continue // a line that was cut short by the kill
			}
			target := fmt.Sprintf("%d %d %s", writer, key, kind)
			if what == "begin" {
				pending[target] = fmt.Sprint(n)
				continue
			}
			delete(pending, target)
			expected.apply(writer, key, n, kind)
			acknowledged++
			if answered++; answered == last {
				require.NoError(t, command.Process.Kill())
			}
		}
		_ = command.Wait()
		require.GreaterOrEqual(t, answered, last, "the child ended by itself")
		lost += expected.verify(t, path, pending)
	}
	t.Logf("%d kills, %d writes acknowledged, %d lost", kills, acknowledged, lost)
	assert.Zero(t, lost)
	entries, err := os.ReadDir(directory)
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

// crashState is what the successful writes leave behind: the number of the last write for
// each key, or no entry if that was a delete.
type crashState struct{ accounts, records map[string]string }

func (c *crashState) apply(writer, key, n int, kind string) {
	at := fmt.Sprintf("%d %d", writer, key)
	switch kind {
	case "put":
		c.accounts[at] = fmt.Sprint(n)
	case "delete":
		delete(c.accounts, at)
	case "record":
		c.records[at] = fmt.Sprint(n)
	}
}

// verify counts the keys that have lost a write. A key may be in the state of its last
// successful write or of a pending one. verify keeps the state that it finds.
func (c *crashState) verify(t *testing.T, path string, pending map[string]string) (lost int) {
	t.Helper()
	backend, err := boltstore.Open(path, boltstore.Config{})
	require.NoError(t, err, "a killed process leaves a whole file")
	defer func() { require.NoError(t, backend.Close()) }()
	for writer := range crashWriters {
		for key := range crashKeys {
			at := fmt.Sprintf("%d %d", writer, key)
			found := ""
			stored, err := backend.FindByID(bg, crashAccount(writer, key, 0).ID)
			if err == nil {
				found = strings.TrimPrefix(stored.Groups[0], "write-")
				var n int
				_, _ = fmt.Sscan(found, &n)
				assert.Equal(t, crashAccount(writer, key, n), stored)
				members, err := backend.List(bg, store.List{By: store.ListByGroup, Match: stored.Groups[0], After: idBefore(stored.ID), Limit: 1})
				require.NoError(t, err)
				assert.Equal(t, []*store.Account{stored}, members, "the index of groups agrees")
			} else {
				require.ErrorIs(t, err, store.ErrNotFound)
			}
			_, deleting := pending[at+" delete"]
			if found != c.accounts[at] && found != pending[at+" put"] && (found != "" || !deleting) {
				t.Errorf("account %s is %q, answered was %q", at, found, c.accounts[at])
				lost++
			}
			c.accounts[at] = found

			var record string
			require.NoError(t, backend.UpdateRecord(bg, crashRecord(writer, key), epoch, func(r *store.Record) error {
				record = string(r.Value)
				return store.ErrUnchanged
			}))
			if record != c.records[at] && record != pending[at+" record"] {
				t.Errorf("record %s is %q, answered was %q", at, record, c.records[at])
				lost++
			}
			c.records[at] = record
		}
	}
	return lost
}
