package store

import (
	"fmt"
	"slices"
)

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
