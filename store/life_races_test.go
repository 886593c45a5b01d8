package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
)

// atOnce runs the calls together, and returns their errors in order.
func atOnce(calls ...func() error) []error {
	failures := make([]error, len(calls))
	begin := make(chan struct{})
	var all sync.WaitGroup
	for i, call := range calls {
		all.Go(func() {
			<-begin
			failures[i] = call()
		})
	}
	close(begin)
	all.Wait()
	return failures
}

// requireOneWins requires that one call succeeded, and that the others were refused with an
// error that matches. It returns the winner.
func requireOneWins(t *testing.T, failures []error, others error) (winner int) {
	t.Helper()
	winner = -1
	for i, err := range failures {
		switch {
		case err != nil:
			require.ErrorIs(t, err, others)
		case winner >= 0:
			t.Fatalf("%d and %d succeeded", winner, i)
		default:
			winner = i
		}
	}
	require.GreaterOrEqual(t, winner, 0, "nobody succeeded: %v", failures)
	return winner
}

const raceRounds = 4

func TestOneNameConfirmedAtOnce(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newLifeKit(t, store.Config{Backend: backend})
		for round := range raceRounds {
			name := fmt.Sprint("ada", round)
			codes := make([]string, 4)
			calls := make([]func() error, len(codes))
			for i := range codes {
				codes[i] = k.registrationCode(t, name, fmt.Sprintf("user%d-%d@example.org", round, i))
				calls[i] = func() error { _, err := k.confirm(t, codes[i], ""); return err }
			}
			failures := atOnce(calls...)
			winner := requireOneWins(t, failures, store.ErrExists)
			for i, err := range failures {
				if i != winner {
					requireExists(t, err, "name")
					_, err := k.confirm(t, codes[i], fmt.Sprint(name, "-", i))
					require.NoError(t, err, "the code is good for another name")
				}
			}
		}
	})
}

func TestOneEmailConfirmedAtOnce(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newLifeKit(t, store.Config{Backend: backend})
		calls := make([]func() error, 4)
		for i := range calls {
			code := k.registrationCode(t, fmt.Sprint("user", i), "ada@example.org")
			calls[i] = func() error { _, err := k.confirm(t, code, ""); return err }
		}
		failures := atOnce(calls...)
		winner := requireOneWins(t, failures, store.ErrExists)
		requireExists(t, failures[(winner+1)%4], "email")
	})
}

// TestOneCodeManyTimesAtOnce checks that exactly one caller can use a code.
func TestOneCodeManyTimesAtOnce(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newLifeKit(t, store.Config{Backend: backend})
		account := k.create(t, "ada")
		for kind, use := range map[string]func(round int) func(i int) error{
			"registration, one name": func(round int) func(int) error {
				code := k.registrationCode(t, fmt.Sprint("one", round), fmt.Sprintf("one%d@example.org", round))
				return func(int) error { _, err := k.confirm(t, code, ""); return err }
			},
			"registration, many names": func(round int) func(int) error {
				code := k.registrationCode(t, fmt.Sprint("many", round), fmt.Sprintf("many%d@example.org", round))
				return func(i int) error { _, err := k.confirm(t, code, fmt.Sprintf("many%d-%d", round, i)); return err }
			},
			"reset": func(int) func(int) error {
				code := k.resetCode(t, k.find(t, account.ID).Email)
				return func(i int) error {
					_, err := k.ConfirmPasswordReset(t.Context(), code, fmt.Sprint(newSecret, i), "")
					return err
				}
			},
			"e-mail": func(round int) func(int) error {
				require.NoError(t, k.SetPassword(t.Context(), account.ID, secret))
				code := k.emailCode(t, account.ID, fmt.Sprintf("ada%d@example.org", round))
				return func(int) error { return k.ConfirmEmailChange(t.Context(), account.ID, code) }
			},
		} {
			t.Run(kind, func(t *testing.T) {
				for round := range raceRounds {
					once := use(round)
					calls := make([]func() error, 16)
					for i := range calls {
						calls[i] = func() error { return once(i) }
					}
					k.take()
					winner := requireOneWins(t, atOnce(calls...), store.ErrCode)
					if kind == "reset" {
						require.True(t, k.passwordIs(t, "ada", fmt.Sprint(newSecret, winner)))
					}
					if told := k.deliver(t); kind == "reset" || kind == "e-mail" {
						require.Len(t, told, 1, "the owner is told once")
					}
				}
			})
		}
	})
}

// TestResetAndLoginAtOnce checks that no session of the old password outlives a reset.
func TestResetAndLoginAtOnce(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newLifeKit(t, store.Config{Backend: backend, Throttle: store.Throttle{FreeFailures: -1}})
		account := k.create(t, "ada")
		for range 2 * raceRounds {
			require.NoError(t, k.SetPassword(t.Context(), account.ID, secret))
			code := k.resetCode(t, "ada@example.org")
			logIn := func() error {
				_, err := k.Login(t.Context(), store.Login{Username: "ada", Password: secret, Session: store.NewSession{ClientID: "app"}})
				return err
			}
			failures := atOnce(logIn, func() error { return k.reset(t, code) }, logIn)
			require.NoError(t, failures[1])
			for _, err := range []error{failures[0], failures[2]} {
				require.True(t, err == nil || errors.Is(err, store.ErrCredentials), "got %v", err)
			}
			require.Empty(t, k.find(t, account.ID).Sessions)
			require.ErrorIs(t, logIn(), store.ErrCredentials)
		}
	})
}

// TestEmailChangeAndResetAtOnce checks two codes of one account. The first one that is used
// voids the other.
func TestEmailChangeAndResetAtOnce(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newLifeKit(t, store.Config{Backend: backend})
		account := k.create(t, "ada")
		for round := range 2 * raceRounds {
			require.NoError(t, k.SetPassword(t.Context(), account.ID, secret))
			before := k.find(t, account.ID)
			reset := k.resetCode(t, before.Email)
			email := k.emailCode(t, account.ID, fmt.Sprintf("new%d@example.org", round))
			winner := requireOneWins(t, atOnce(
				func() error { return k.reset(t, reset) },
				func() error { return k.ConfirmEmailChange(t.Context(), account.ID, email) },
			), store.ErrCode)
			after := k.find(t, account.ID)
			assert.Equal(t, winner == 0, after.PasswordHash != before.PasswordHash)
			assert.Equal(t, winner == 1, after.Email != before.Email)
		}
	})
}

// TestPasswordChangedTwiceAtOnce checks that the one who comes second is too late: the
// current password is another one by then.
func TestPasswordChangedTwiceAtOnce(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newLifeKit(t, store.Config{Backend: backend, Throttle: store.Throttle{FreeFailures: -1}})
		account := k.create(t, "ada")
		for range raceRounds {
			require.NoError(t, k.SetPassword(t.Context(), account.ID, secret))
			states := make([]*store.SessionState, 4)
			calls := make([]func() error, len(states))
			for i := range calls {
				calls[i] = func() (err error) {
					states[i], err = k.ChangePassword(t.Context(), account.ID, secret, fmt.Sprint(newSecret, i), store.NewSession{ClientID: "app"})
					return err
				}
			}
			winner := requireOneWins(t, atOnce(calls...), store.ErrCredentials)
			require.True(t, k.passwordIs(t, "ada", fmt.Sprint(newSecret, winner)))
			sessions := k.find(t, account.ID).Sessions
			require.Len(t, sessions, 1)
			assert.Equal(t, states[winner].Session.ID, sessions[0].ID)
		}
	})
}

// TestPasswordChangeAndCodesAtOnce checks that a change by the owner is not lost to a code,
// and that the code is void once the change was done.
func TestPasswordChangeAndCodesAtOnce(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newLifeKit(t, store.Config{Backend: backend})
		account := k.create(t, "ada")
		for round := range raceRounds {
			require.NoError(t, k.SetPassword(t.Context(), account.ID, secret))
			address := fmt.Sprintf("new%d@example.org", round)
			email := k.emailCode(t, account.ID, address)
			failures := atOnce(
				func() error { return k.changePassword(t.Context(), account.ID, secret, newSecret) },
				func() error { return k.ConfirmEmailChange(t.Context(), account.ID, email) },
			)
			require.NoError(t, failures[0])
			after := k.find(t, account.ID)
			if failures[1] != nil {
				require.ErrorIs(t, failures[1], store.ErrCode)
			}
			assert.Equal(t, failures[1] == nil, after.Email == address)
			assert.Len(t, after.Sessions, 1)
			assert.True(t, k.passwordIs(t, "ada", newSecret))
		}
	})
}

func TestMailsAskedForAtOnce(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		box := &outbox{}
		k := newKit(t, store.Config{Backend: backend, Mailer: box})
		calls := make([]func() error, 16)
		for i := range calls {
			calls[i] = func() error { return k.StartPasswordReset(t.Context(), "ada@example.org", "") }
		}
		succeeded := 0
		for _, err := range atOnce(calls...) {
			if err == nil {
				succeeded++
				continue
			}
			require.ErrorIs(t, err, store.ErrThrottled)
		}
		assert.Equal(t, 3, succeeded)
		assert.Len(t, box.take(), 3)
	})
}
