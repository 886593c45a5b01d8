package storetest_test

import (
	"cmp"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
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
const childVariable = "OAUTHSV_STORETEST_CHILD"

// child runs a test again in a child process, whose tests may fail, and returns what it says.
func child(t *testing.T, run string) (output string) {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), executable, "-test.run="+run, "-test.v")
	command.Env = append(os.Environ(), childVariable+"=1")
	text, err := command.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "the suite passed: %s", text)
	return string(text)
}

// TestFailsOverTwoSteps checks that the suite fails for a backend that does not compare
// and swap in one step.
func TestFailsOverTwoSteps(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		storetest.Test(t, func(*testing.T) store.Backend { return twoSteps{memstore.New()} })
		return
	}
	output := child(t, "^"+t.Name()+"$")
	for _, race := range []string{"UpdateRace", "RecordRace", "RefreshRace", "LateRetryRace", "DisableRace", "RevokeRace"} {
		assert.Contains(t, output, "--- FAIL: "+t.Name()+"/"+race)
	}
	for _, calm := range []string{"CreateFind", "UpdateWrites", "Records", "UnknownMembers", "ListPages", "ListFollowsChanges"} {
		assert.Contains(t, output, "--- PASS: "+t.Name()+"/"+calm)
	}
}

// faulty is a backend in which one method is replaced.
type faulty struct {
	store.Backend
	find   func(store.ID) (*store.Account, error)
	create func(*store.Account) error
	update func(context.Context, store.ID, func(*store.Account) error) error
	record func(string, time.Time, func(*store.Record) error) error
	remove func(store.ID) error
	list   func(context.Context, store.List) ([]*store.Account, error)
	ping   func() error
}

func (f *faulty) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	if f.find == nil || ctx.Err() != nil {
		return f.Backend.FindByID(ctx, id)
	}
	return f.find(id)
}

func (f *faulty) Create(ctx context.Context, account *store.Account) error {
	if f.create == nil || ctx.Err() != nil {
		return f.Backend.Create(ctx, account)
	}
	return f.create(account)
}

func (f *faulty) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	if f.update == nil {
		return f.Backend.Update(ctx, id, change)
	}
	return f.update(ctx, id, change)
}

func (f *faulty) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	if f.record == nil || ctx.Err() != nil {
		return f.Backend.UpdateRecord(ctx, key, now, change)
	}
	return f.record(key, now, change)
}

func (f *faulty) Delete(ctx context.Context, id store.ID) error {
	if f.remove == nil || ctx.Err() != nil {
		return f.Backend.Delete(ctx, id)
	}
	return f.remove(id)
}

func (f *faulty) List(ctx context.Context, list store.List) ([]*store.Account, error) {
	if f.list == nil {
		return f.Backend.List(ctx, list)
	}
	return f.list(ctx, list)
}

func (f *faulty) Ping(ctx context.Context) error {
	if f.ping == nil {
		return f.Backend.Ping(ctx)
	}
	return f.ping()
}

// promise is one that a backend breaks, and the test of the suite that must say so.
type promise struct {
	test   string
	breaks func(bad *faulty, good store.Backend)
}

// brokenPromises are by what the backend does.
func brokenPromises() map[string]promise {
	ctx := context.Background()
	creates := func(change func(*store.Account)) func(*faulty, store.Backend) {
		return func(bad *faulty, good store.Backend) {
			bad.create = func(account *store.Account) error {
				kept := account.Clone()
				change(kept)
				return good.Create(ctx, kept)
			}
		}
	}
	lists := func(answer func(good store.Backend, list store.List) ([]*store.Account, error)) func(*faulty, store.Backend) {
		return func(bad *faulty, good store.Backend) {
			bad.list = func(ctx context.Context, list store.List) ([]*store.Account, error) {
				if ctx.Err() != nil {
					return good.List(ctx, list)
				}
				return answer(good, list)
			}
		}
	}
	promises := map[string]promise{
		"keeps a record for too long": {"Records", func(bad *faulty, good store.Backend) {
			bad.record = func(key string, now time.Time, change func(*store.Record) error) error {
				return good.UpdateRecord(ctx, key, now.Add(-time.Millisecond), change)
			}
		}},
		"ends a record too soon": {"Records", func(bad *faulty, good store.Backend) {
			bad.record = func(key string, now time.Time, change func(*store.Record) error) error {
				return good.UpdateRecord(ctx, key, now.Add(time.Millisecond), change)
			}
		}},
		"writes what is unchanged": {"UpdateUnchanged", func(bad *faulty, good store.Backend) {
			bad.update = func(ctx context.Context, id store.ID, change func(*store.Account) error) error {
				return good.Update(ctx, id, func(a *store.Account) error { return unlessUnchanged(change(a)) })
			}
		}},
		"writes a record that is unchanged": {"UpdateUnchanged", func(bad *faulty, good store.Backend) {
			bad.record = func(key string, now time.Time, change func(*store.Record) error) error {
				return good.UpdateRecord(ctx, key, now, func(r *store.Record) error { return unlessUnchanged(change(r)) })
			}
		}},
		"writes what is refused": {"UpdateErrorWritesNothing", func(bad *faulty, good store.Backend) {
			bad.update = func(ctx context.Context, id store.ID, change func(*store.Account) error) (refused error) {
				err := good.Update(ctx, id, func(a *store.Account) error { refused = change(a); return nil })
				return cmp.Or(err, refused)
			}
		}},
		"is stuck after a panic": {"UpdatePanicHurtsNobody", func(bad *faulty, good store.Backend) {
			var mu sync.Mutex
			bad.update = func(ctx context.Context, id store.ID, change func(*store.Account) error) error {
				if !mu.TryLock() {
					return store.ErrUnavailable
				}
				err := good.Update(ctx, id, change)
				mu.Unlock()
				return err
			}
		}},
		"changes an account that is not there": {"UpdateWrites", func(bad *faulty, good store.Backend) {
			bad.update = func(ctx context.Context, id store.ID, change func(*store.Account) error) error {
				err := good.Update(ctx, id, change)
				if errors.Is(err, store.ErrNotFound) {
					return change(new(store.Account))
				}
				return err
			}
		}},
		"changes without a context": {"Context", func(bad *faulty, good store.Backend) {
			bad.update = func(ctx context.Context, id store.ID, change func(*store.Account) error) error {
				return good.Update(context.WithoutCancel(ctx), id, change)
			}
		}},
		"removes what is not there": {"Delete", func(bad *faulty, good store.Backend) {
			bad.remove = func(id store.ID) error { _ = good.Delete(ctx, id); return nil }
		}},
		"removes nothing": {"Delete", func(bad *faulty, good store.Backend) {
			bad.remove = func(id store.ID) error { _, err := good.FindByID(ctx, id); return err }
		}},
		"is well without a context": {"Context", func(bad *faulty, _ store.Backend) {
			bad.ping = func() error { return nil }
		}},
		"calls all that is taken a name": {"CreateRefusesTaken", func(bad *faulty, good store.Backend) {
			bad.create = func(account *store.Account) error {
				err := good.Create(ctx, account)
				if errors.Is(err, store.ErrExists) {
					return &store.ExistsError{Field: "name"}
				}
				return err
			}
		}},
		"looks for the e-mail in a step of its own": {"CreateRace", func(bad *faulty, good store.Backend) {
			bad.create = func(account *store.Account) error {
				if _, err := good.FindByEmail(ctx, account.EmailKey); err == nil {
					return &store.ExistsError{Field: "email"}
				}
				roundTrip()
				err := good.Create(ctx, account)
				if errors.Is(err, store.ErrExists) {
					kept := account.Clone()
					kept.EmailKey += kept.ID.Hex() // so that no index refuses it
					err = good.Create(ctx, kept)
				}
				return err
			}
		}},
		"gives out what it was given": {"SnapshotsArePrivate", func(bad *faulty, good store.Backend) {
			given := make(map[store.ID]*store.Account)
			bad.create = func(account *store.Account) error {
				given[account.ID] = account
				return good.Create(ctx, account)
			}
			bad.find = func(id store.ID) (*store.Account, error) { return given[id], nil }
		}},
		"finds what is not there": {"CreateFind", func(bad *faulty, _ store.Backend) {
			bad.find = func(id store.ID) (*store.Account, error) { return &store.Account{ID: id}, nil }
		}},
		"keeps no unknown members": {"EveryMemberIsKept", creates(func(a *store.Account) { a.Unknown = nil })},
		"keeps no unknown members of sessions": {"UnknownMembers", creates(func(a *store.Account) {
			for i := range a.Sessions {
				a.Sessions[i].Unknown = nil
			}
		})},
		"keeps 32 sessions":   {"RoundTrip", creates(func(a *store.Account) { a.Sessions = a.Sessions[:min(len(a.Sessions), 32)] })},
		"keeps whole seconds": {"RoundTrip", creates(func(a *store.Account) { a.Modified = a.Modified.Truncate(time.Second) })},
		"keeps 32 bits": {"RoundTrip", creates(func(a *store.Account) {
			for i := range a.Sessions {
				a.Sessions[i].Generation = int64(int32(a.Sessions[i].Generation))
			}
		})},
		"takes a group for a prefix": {"ListGroup", lists(func(good store.Backend, list store.List) ([]*store.Account, error) {
			return chosen(good, list, func(a *store.Account) bool {
				return list.By != store.ListByGroup || slices.ContainsFunc(a.Groups, func(group string) bool { return strings.HasPrefix(group, list.Match) })
			})
		})},
		"takes a prefix for a pattern": {"ListPrefix", lists(func(good store.Backend, list store.List) ([]*store.Account, error) {
			if list.By != store.ListByName || !strings.Contains(list.Match, "%") {
				return good.List(ctx, list)
			}
			pattern := regexp.MustCompile("^" + strings.ReplaceAll(list.Match, "%", ".*"))
			return chosen(good, list, func(a *store.Account) bool { return pattern.MatchString(a.Name) })
		})},
	}
	for by, key := range map[store.ListKey]string{store.ListByID: "id", store.ListByName: "name", store.ListByEmail: "e-mail", store.ListByGroup: "group"} {
		onlyBy := func(answer func(good store.Backend, list store.List) ([]*store.Account, error)) func(*faulty, store.Backend) {
			return lists(func(good store.Backend, list store.List) ([]*store.Account, error) {
				if list.By != by {
					return good.List(ctx, list)
				}
				return answer(good, list)
			})
		}
		promises["lists one too many by "+key] = promise{"ListOrder", onlyBy(func(good store.Backend, list store.List) ([]*store.Account, error) {
			list.Limit++
			return good.List(ctx, list)
		})}
		promises["lists one too few by "+key] = promise{"ListOrder", onlyBy(func(good store.Backend, list store.List) ([]*store.Account, error) {
			page, err := good.List(ctx, list)
			return page[:max(0, len(page)-1)], err
		})}
		promises["lists backwards by "+key] = promise{"ListOrder", onlyBy(func(good store.Backend, list store.List) ([]*store.Account, error) {
			page, err := good.List(ctx, list)
			slices.Reverse(page)
			return page, err
		})}
		promises["begins a page with the last account by "+key] = promise{"ListPages", onlyBy(func(good store.Backend, list store.List) ([]*store.Account, error) {
			return chosen(good, list, func(a *store.Account) bool {
				return list.By == store.ListByID || list.By == store.ListByGroup || strings.HasPrefix(listKey(a, list.By), list.Match)
			})
		})}
		full := 0 // pages, one after the other
		promises["skips an account after three pages by "+key] = promise{"ListPages", onlyBy(func(good store.Backend, list store.List) ([]*store.Account, error) {
			page, err := good.List(ctx, list)
			if len(page) < list.Limit {
				full = 0
			} else if full++; full == 4 {
				page = page[1:]
			}
			return page, err
		})}
		promises["begins again after one that was removed by "+key] = promise{"ListAfterRemoved", onlyBy(func(good store.Backend, list store.List) ([]*store.Account, error) {
			everyone, err := good.List(ctx, store.List{By: list.By, Match: list.Match, Limit: 1000})
			if !slices.ContainsFunc(everyone, func(a *store.Account) bool { return listKey(a, list.By) == list.After }) {
				list.After = ""
			}
			page, _ := good.List(ctx, list)
			return page, err
		})}
		promises["lists what was removed by "+key] = promise{"ListEmpty", func(bad *faulty, good store.Backend) {
			var removed []*store.Account
			bad.remove = func(id store.ID) error {
				found, err := good.FindByID(ctx, id)
				removed = append(removed, found)
				return errors.Join(err, good.Delete(ctx, id))
			}
			bad.list = func(ctx context.Context, list store.List) ([]*store.Account, error) {
				page, err := good.List(ctx, list)
				if list.By == by {
					page = append(page, removed...)
				}
				return page, err
			}
		}}
		promises["fails as long as nobody was made by "+key] = promise{"ListEmpty", func(bad *faulty, good store.Backend) {
			made := false
			bad.create = func(account *store.Account) error {
				made = true
				return good.Create(ctx, account)
			}
			bad.list = func(ctx context.Context, list store.List) ([]*store.Account, error) {
				if list.By == by && !made {
					return nil, store.ErrUnavailable
				}
				return good.List(ctx, list)
			}
		}}
		promises["lists without a context by "+key] = promise{"ListContext", func(bad *faulty, good store.Backend) {
			bad.list = func(ctx context.Context, list store.List) ([]*store.Account, error) {
				if list.By == by {
					ctx = context.WithoutCancel(ctx)
				}
				return good.List(ctx, list)
			}
		}}
	}
	return promises
}

func unlessUnchanged(err error) error {
	if errors.Is(err, store.ErrUnchanged) {
		return nil
	}
	return err
}

func listKey(account *store.Account, by store.ListKey) string {
	switch by {
	case store.ListByName:
		return account.Name
	case store.ListByEmail:
		return account.EmailKey
	}
	return account.ID.Hex()
}

// chosen lists the accounts of a list for which choose is true, from list.After on: it too.
func chosen(good store.Backend, list store.List, choose func(*store.Account) bool) ([]*store.Account, error) {
	wide := store.List{By: list.By, Limit: 1000}
	if list.By == store.ListByGroup {
		if wide.Match = list.Match; list.After == "" {
			wide.By = store.ListByID // choose knows the groups
		}
	}
	everyone, err := good.List(context.Background(), wide)
	found := []*store.Account{}
	for _, account := range everyone {
		if listKey(account, list.By) >= list.After && choose(account) {
			found = append(found, account)
		}
	}
	return found[:min(len(found), list.Limit)], err
}

// TestNoticesABrokenPromise runs the suite over backends that break one promise each.
func TestNoticesABrokenPromise(t *testing.T) {
	promises := brokenPromises()
	if os.Getenv(childVariable) != "" {
		for name, promise := range promises {
			t.Run(name, func(t *testing.T) {
				storetest.Test(t, func(*testing.T) store.Backend {
					good := memstore.New()
					bad := &faulty{Backend: good}
					promise.breaks(bad, good)
					return bad
				})
			})
		}
		return
	}
	byTest := make(map[string][]string)
	for name, promise := range promises {
		byTest[promise.test] = append(byTest[promise.test], strings.ReplaceAll(name, " ", "_"))
	}
	for test, names := range byTest {
		output := child(t, "^"+t.Name()+"$/^("+strings.Join(names, "|")+")$/^"+test+"$")
		for _, name := range names {
			assert.Contains(t, output, "--- FAIL: "+t.Name()+"/"+name+"/"+test+" ")
		}
	}
}
