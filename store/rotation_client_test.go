package store

import (
	"fmt"
	"time"
)

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
