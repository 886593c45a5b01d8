package storetest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/storetest"
)

// twoSteps is a backend that first reads and then writes, and does not check whether
// somebody else wrote in between. As long as calls do not overlap, it is correct.
type twoSteps struct{ store.Backend }

// roundTrip waits for the time between the two steps.
func roundTrip() { time.Sleep(100 * time.Microsecond) }

func (b twoSteps) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	found, err := b.FindByID(ctx, id)
	if err != nil {
		return err
	}
	changed := found.Clone()
	if err := change(changed); errors.Is(err, store.ErrUnchanged) {
		return nil
	} else if err != nil {
		return err
	}
	roundTrip()
	return b.Backend.Update(ctx, id, func(a *store.Account) error {
		*a = *changed
		a.ID = id
		return nil
	})
}

func (b twoSteps) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	var changed store.Record
	err := b.Backend.UpdateRecord(ctx, key, now, func(r *store.Record) error {
		if err := change(r); err != nil {
			return err
		}
		changed = *r
		return errRead
	})
	if !errors.Is(err, errRead) {
		return err
	}
	roundTrip()
	return b.Backend.UpdateRecord(ctx, key, now, func(r *store.Record) error {
		*r = changed
		return nil
	})
}

var errRead = errors.New("only reading")

// TestExample runs the test function of the example.
func TestExample(t *testing.T) { testCountingBackend(t) }

// childVariable is set in the environment of the child process.
const childVariable = "OAUTHSV_STORETEST_TWO_STEPS"

// TestFailsOverTwoSteps checks that the suite fails for a backend that does not compare
// and swap in one step. The suite runs in a child process, whose tests may fail.
func TestFailsOverTwoSteps(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		storetest.Test(t, func(*testing.T) store.Backend { return twoSteps{memstore.New()} })
		return
	}
	executable, err := os.Executable()
	require.NoError(t, err)
	child := exec.CommandContext(t.Context(), executable, "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), childVariable+"=1")
	output, err := child.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "the suite passed: %s", output)
	for _, race := range []string{"UpdateRace", "RecordRace", "RefreshRace", "LateRetryRace", "DisableRace", "RevokeRace"} {
		assert.Contains(t, string(output), "--- FAIL: "+t.Name()+"/"+race)
	}
	for _, calm := range []string{"CreateFind", "UpdateWrites", "Records", "UnknownMembers", "ListPages", "ListFollowsChanges"} {
		assert.Contains(t, string(output), "--- PASS: "+t.Name()+"/"+calm)
	}
}
