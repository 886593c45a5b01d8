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

// theft is a session from whose owner a pair of tokens is stolen, once. After that the owner
// and the thief never act within one reuse interval.
type theft struct {
	world
	owner int64   // the pair that the owner has stored
	thief []int64 // all pairs that the thief has ever had

	thiefRefreshed bool
	answered       int // the owner's answered refreshes since then, at most 2
}

func (t theft) key() string {
	classes := map[byte]bool{}
	for _, generation := range t.thief {
		classes[t.class(generation)] = true
	}
	return fmt.Sprint(t.world.key(), string(t.class(t.owner)), classes, t.thiefRefreshed, t.answered)
}

// out reports whether the thief cannot refresh any more.
func (t *theft) out(r rules) bool {
	if t.ended {
		return true
	}
	later := t.now.Add(apart)
	return !slices.ContainsFunc(t.thief, func(generation int64) bool {
		return r.judge(&t.session, generation, later) != reuse
	})
}

func (t theft) moves(r rules) (moves []move[theft]) {
	t.now = t.now.Add(apart)
	t.thief = slices.Clone(t.thief)
	try := func(what string, act func(*theft) (owner, thief bool, err error)) {
		to := t
		to.thief = slices.Clone(t.thief)
		owner, thief, err := act(&to)
		if err == nil && to.answered == 2 && !to.out(r) {
			err = broken("at the owner's second answered refresh the thief is neither out nor found")
		}
		if r.cyclesOnly {
			err = nil
		}
		moves = append(moves, move[theft]{to, owner, thief, what, err})
	}
	robbed := len(t.thief) > 0
	for _, lost := range []bool{false, true} {
		try(fmt.Sprintf("owner refreshes, lost: %v", lost), func(t *theft) (bool, bool, error) {
			given, err := t.refresh(r, t.owner)
			switch {
			case err != nil:
				return false, false, err
			case given == 0 && !robbed:
				return false, false, broken("a client alone is logged out")
			case given == 0 || lost:
				return false, false, nil
			}
			t.owner = given
			if t.thiefRefreshed {
				t.answered = min(2, t.answered+1)
			}
			return true, false, nil
		})
		for _, generation := range t.thief {
			try(fmt.Sprintf("thief refreshes with %d, lost: %v", generation, lost), func(t *theft) (bool, bool, error) {
				given, err := t.refresh(r, generation)
				if err != nil || given == 0 {
					return false, false, err
				}
				t.thiefRefreshed = true
				if lost {
					return false, false, nil
				}
				t.thief = append(t.thief, given)
				return false, true, nil
			})
		}
	}
	for _, marked := range []bool{true, false} {
		try(fmt.Sprintf("owner uses, marked: %v", marked), func(t *theft) (bool, bool, error) {
			accepted, err := t.present(r, t.owner, marked)
			if err == nil && !accepted && !robbed {
				err = broken("a client alone is refused")
			}
			return false, false, err
		})
		for _, generation := range t.thief {
			try(fmt.Sprintf("thief uses %d, marked: %v", generation, marked), func(t *theft) (bool, bool, error) {
				_, err := t.present(r, generation, marked)
				return false, false, err
			})
		}
	}
	if !robbed {
		try("theft", func(t *theft) (bool, bool, error) {
			t.thief = []int64{t.owner}
			return false, false, nil
		})
	}
	return moves
}

func walkTheft(r rules) (states int, err error) {
	graph, err := walk(theft{world: newWorld(), owner: 1}, theft.key, func(t theft) []move[theft] { return t.moves(r) })
	if err == nil {
		err = bothForEver(graph)
	}
	return len(graph), err
}

// client is an honest client of one to three tabs that share a storage. Either one of them
// refreshes at a time, or all of them at once.
type client struct {
	world
	stored int64
	tabs   [3]int64 // the pair that each tab has read from the storage
}

func (c client) key() string {
	classes := []byte{c.class(c.stored)}
	for _, generation := range c.tabs {
		classes = append(classes, c.class(generation))
	}
	return fmt.Sprint(c.world.key(), string(classes))
}

func (c client) moves(r rules, tabs int) (moves []move[client]) {
	try := func(what string, act func(*client) error) {
		for _, pause := range []time.Duration{0, apart} {
			to := c
			to.now = to.now.Add(pause)
			err := act(&to)
			moves = append(moves, move[client]{to: to, what: fmt.Sprint(pause, ": ", what), broken: err})
		}
	}
	for _, lost := range []bool{false, true} {
		try(fmt.Sprintf("refresh, lost: %v", lost), func(c *client) error {
			given, err := c.refresh(r, c.stored)
			switch {
			case err != nil:
				return err
			case given == 0:
				return broken("a client alone is logged out")
			case !lost:
				c.stored = given
			}
			return nil
		})
		try(fmt.Sprintf("all refresh at once, lost: %v", lost), func(c *client) error {
			before, presented := c.session.Generation, c.stored
			late := c.now.Sub(c.session.Issued()) > walkInterval
			for range tabs + 1 {
				given, err := c.refresh(r, presented)
				switch {
				case err != nil:
					return err
				case given == 0:
					return broken("one of several at once is logged out")
				case late && given != before+1:
					return broken("of several at once the generation moves by %d", given-before)
				case !lost:
					c.stored = given
				}
			}
			return nil
		})
	}
	for tab := range tabs {
		try(fmt.Sprintf("tab %d reads the storage", tab), func(c *client) error {
			c.tabs[tab] = c.stored
			return nil
		})
		for _, marked := range []bool{true, false} {
			try(fmt.Sprintf("tab %d uses its access token, marked: %v", tab, marked), func(c *client) error {
				accepted, err := c.present(r, c.tabs[tab], marked)
				if err == nil && !accepted {
					err = broken("a client alone is refused")
				}
				return err
			})
		}
	}
	return moves
}

func walkClient(r rules) (states int, err error) {
	for tabs := 1; tabs <= 3; tabs++ {
		start := client{world: newWorld(), stored: 1, tabs: [3]int64{1, 1, 1}}
		graph, err := walk(start, client.key, func(c client) []move[client] { return c.moves(r, tabs) })
		states += len(graph)
		if err != nil {
			return states, err
		}
	}
	return states, nil
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
