package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The two walks in this file try every order of what owner, thief and network can do with one
// session. In each state they check what the rules of rotation promise. States that no rule
// can distinguish are merged, so the walks end. Mutations of the rules show that the walks
// detect errors: each mutation must break a promise.

// rules decide about tokens. The walks run with the real rules and with mutations of them.
type rules struct {
	judge  func(*Session, int64, time.Time) verdict
	rotate func(*Session, time.Time)
	again  func(*Session, time.Time)
	accept func(*Session, int64) bool // access tokens

	cyclesOnly bool // go on after a broken promise, and look only for cycles
}

const (
	walkInterval = 10 * time.Second
	apart        = time.Minute // longer than the interval
)

var walkRotation = rotation{reuseInterval: walkInterval, lostReplyWindow: 1 << 62}

func realRules() rules {
	return rules{
		judge:  walkRotation.judge,
		rotate: func(s *Session, now time.Time) { s.rotate(0, now) },
		again:  func(s *Session, now time.Time) { s.again(0, now) },
		accept: func(s *Session, generation int64) bool {
			account := Account{Sessions: []Session{*s}}
			_, err := account.authenticate(SessionRef{Generation: generation}, time.Time{})
			return err == nil
		},
	}
}

// world is one session at one moment.
type world struct {
	session Session
	ended   bool
	now     time.Time
}

func newWorld() world {
	start := time.Unix(0, 0)
	return world{now: start, session: Session{Generation: 1, Rotated: start, Expires: start.Add(1 << 62)}}
}

var errPromise = errors.New("broken promise")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errPromise, fmt.Sprintf(format, args...))
}

// refresh presents a refresh token and returns the generation of the answer, or 0 if the
// session was ended.
func (w *world) refresh(r rules, generation int64) (given int64, err error) {
	if w.ended {
		return 0, nil
	}
	s := &w.session
	late := w.now.Sub(s.Issued()) > walkInterval
	switch verdict := r.judge(s, generation, w.now); {
	case verdict == reuse:
		w.ended = true
		return 0, nil
	case verdict == rotate && generation != s.Generation:
		return 0, broken("a generation that is not the current one rotates")
	case verdict != rotate && generation != s.Proven():
		return 0, broken("a generation that is neither current nor the last proven is answered")
	case verdict != rotate && late && s.Used:
		return 0, broken("the last proven is answered late although its successor was used")
	case verdict == rotate:
		r.rotate(s, w.now)
	case verdict == again:
		r.again(s, w.now)
	}
	return s.Generation, nil
}

// present presents an access token. marked says whether the write of the mark succeeds.
func (w *world) present(r rules, generation int64, marked bool) (accepted bool, err error) {
	s := &w.session
	if w.ended || !r.accept(s, generation) {
		return false, nil
	}
	if s.superseded(generation) {
		return false, broken("an access token of a lost reply is accepted")
	}
	if marked && s.needsMark(generation) {
		s.Used = true
	}
	return true, nil
}

// class is all that the rules know about a generation.
func (w *world) class(generation int64) byte {
	switch {
	case generation == w.session.Generation:
		return 'c' // current
	case generation == w.session.Proven():
		return 'p' // last proven
	case w.session.superseded(generation):
		return 'b' // between
	}
	return 'o' // older
}

func (w *world) key() string {
	s := &w.session
	return fmt.Sprint(w.ended, s.Used, s.Generation == 1, w.now.Sub(s.Issued()) <= walkInterval)
}

// move is an edge of a walk.
type move[S any] struct {
	to           S
	owner, thief bool // whether the owner, or the thief, gets an answer to a refresh
	what         string
	broken       error // the promise that the move breaks
}

// walk visits every state and returns how many there are, or the first broken promise with
// the moves that lead to it.
func walk[S any](start S, key func(S) string, moves func(S) []move[S]) (states map[string][]edge, err error) {
	type visit struct {
		state S
		way   []string
	}
	states = map[string][]edge{key(start): nil}
	for queue := []visit{{state: start}}; len(queue) > 0; queue = queue[1:] {
		from := queue[0]
		for _, m := range moves(from.state) {
			way := append(slices.Clone(from.way), m.what)
			if m.broken != nil {
				return states, fmt.Errorf("%w, by %v", m.broken, way)
			}
			to := key(m.to)
			states[key(from.state)] = append(states[key(from.state)], edge{to, m.owner, m.thief})
			if _, seen := states[to]; !seen {
				states[to] = nil
				queue = append(queue, visit{m.to, way})
			}
		}
	}
	return states, nil
}

type edge struct {
	to           string
	owner, thief bool
}

// reaches lists the states that can be reached from a state. The state itself is among them
// only if a cycle leads back to it.
func reaches(states map[string][]edge, from string) map[string]bool {
	seen := map[string]bool{}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, e := range states[queue[0]] {
			if !seen[e.to] {
				seen[e.to] = true
				queue = append(queue, e.to)
			}
		}
	}
	return seen
}

// bothForEver looks for a cycle in which owner and thief both refresh.
func bothForEver(states map[string][]edge) error {
	for from, edges := range states {
		for _, e := range edges {
			if !e.owner {
				continue
			}
			around := reaches(states, e.to)
			if e.to != from && !around[from] {
				continue
			}
			around[e.to] = true
			for state := range around {
				for _, other := range states[state] {
					if other.thief && (other.to == from || reaches(states, other.to)[from]) {
						return broken("owner and thief both refresh for ever")
					}
				}
			}
		}
	}
	return nil
}

func TestRotationWalk(t *testing.T) {
	states, err := walkTheft(realRules())
	require.NoError(t, err)
	t.Logf("owner and thief: %d states", states)
	states, err = walkClient(realRules())
	require.NoError(t, err)
	t.Logf("a client alone: %d states", states)
}

// oldRules are the rules of the first version, where a late retry got the current generation
// again.
func oldRules(r *rules) {
	judge := r.judge
	r.judge = func(s *Session, generation int64, now time.Time) verdict {
		if v := judge(s, generation, now); v != again {
			return v
		}
		return replay
	}
}

// TestOldRulesHidAThief shows that with the old rules owner and thief could both refresh for
// ever.
func TestOldRulesHidAThief(t *testing.T) {
	r := realRules()
	r.cyclesOnly = true
	states, err := walkTheft(r)
	require.NoError(t, err)
	t.Logf("the rules: %d states, no cycle", states)
	oldRules(&r)
	states, err = walkTheft(r)
	require.ErrorIs(t, err, errPromise)
	t.Logf("the old rules: %d states, %v", states, err)
}

// TestRotationWalkNotices checks that a promise breaks if one of the rules is missing.
func TestRotationWalkNotices(t *testing.T) {
	for name, mutate := range map[string]func(*rules){
		"a late retry gets the same generation, as it once did": oldRules,
		"a late retry moves the last proven generation": func(r *rules) {
			r.again = func(s *Session, now time.Time) { s.rotate(0, now) }
		},
		"the mark does not count": func(r *rules) {
			judge := r.judge
			r.judge = func(s *Session, generation int64, now time.Time) verdict {
				unused := *s
				unused.Used = false
				return judge(&unused, generation, now)
			}
		},
		"a rotation keeps the mark": func(r *rules) {
			rotate := r.rotate
			r.rotate = func(s *Session, now time.Time) {
				used := s.Used
				rotate(s, now)
				s.Used = used
			}
		},
		"a superseded refresh token is answered": func(r *rules) {
			judge := r.judge
			r.judge = func(s *Session, generation int64, now time.Time) verdict {
				if s.superseded(generation) {
					return again
				}
				return judge(s, generation, now)
			}
		},
		"a superseded access token is accepted": func(r *rules) {
			r.accept = func(*Session, int64) bool { return true }
		},
		"an older refresh token is answered": func(r *rules) {
			judge := r.judge
			r.judge = func(s *Session, generation int64, now time.Time) verdict {
				if generation < s.Proven() {
					return replay
				}
				return judge(s, generation, now)
			}
		},
		"reuse ends nothing": func(r *rules) {
			judge := r.judge
			r.judge = func(s *Session, generation int64, now time.Time) verdict {
				if v := judge(s, generation, now); v != reuse {
					return v
				}
				return rotate
			}
		},
		"the interval counts from the last rotation": func(r *rules) {
			judge := r.judge
			r.judge = func(s *Session, generation int64, now time.Time) verdict {
				if s.RecoveredAt.IsZero() || generation != s.Proven() {
					return judge(s, generation, now)
				}
				moved := *s
				moved.RecoveredAt = s.Rotated
				return judge(&moved, generation, now)
			}
		},
		"no late retry at all": func(r *rules) { r.judge = rotation{reuseInterval: walkInterval}.judge },
		"no retry at once":     func(r *rules) { r.judge = rotation{lostReplyWindow: 1 << 62}.judge },
	} {
		t.Run(name, func(t *testing.T) {
			r := realRules()
			mutate(&r)
			_, theftErr := walkTheft(r)
			_, clientErr := walkClient(r)
			t.Log(theftErr)
			t.Log(clientErr)
			assert.ErrorIs(t, errors.Join(theftErr, clientErr), errPromise)
		})
	}
}
