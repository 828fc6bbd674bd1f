package redis

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// swap makes next the filter of new clients and retires the present one. The
// channel gets something each time Done is called.
func (f *fixture) swap(next *Filter, r filters.Retirement) <-chan struct{} {
	f.tb.Helper()
	done := make(chan struct{}, 10)
	old := f.filter
	f.onLoop(func(*worker) { f.filter = next })
	if next != nil {
		r.Next = next
	}
	r.Done = func() { done <- struct{}{} }
	old.Retire(r)
	f.onLoop(func(*worker) {}) // what Retire has posted is done
	return done
}

func wantDone(t *testing.T, done <-chan struct{}, want bool) {
	t.Helper()
	if !want {
		select {
		case <-done:
			t.Error("Done was called")
		default:
		}
		return
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Done was not called")
	}
	if len(done) > 0 {
		t.Error("Done was called twice")
	}
}

// twoEnvironments is a filter in front of servers named dev, and the servers of
// another environment.
func twoEnvironments(t *testing.T) (f *fixture, dev, prod *redistest.Node) {
	t.Helper()
	nodes := servers(t, 2)
	for i, name := range []string{"dev", "prod"} {
		nodes[i].Do("SET", "where", name)
	}
	cfg := defaults()
	cfg.CatchAll.Cluster = "dev"
	return start(t, cfg, newCluster("dev", nodes[0]), newCluster("prod", nodes[1])), nodes[0], nodes[1]
}

// to is the filter in front of another cluster.
func (f *fixture) to(cluster string, edit ...func(*resource.RedisFilter)) *Filter {
	cfg := defaults()
	cfg.CatchAll.Cluster = cluster
	for _, e := range edit {
		e(cfg)
	}
	return f.build(cfg)
}

func TestRetireUnderLoad(t *testing.T) {
	t.Parallel()
	f, _, _ := twoEnvironments(t)
	var requests, switched atomic.Int64
	var failure atomic.Value
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 20 {
		c := f.dial()
		wg.Go(func() {
			last := "dev"
			for n := 0; ctx.Err() == nil; n++ {
				tx := (i+n)%3 == 0
				script := redistest.Command("GET", "where") + redistest.Command("INCR", fmt.Sprintf("n%d", i))
				replies := 2
				if tx {
					script = redistest.Command("MULTI") + script + redistest.Command("EXEC")
					replies = 4
				}
				if err := c.TrySend(script); err != nil {
					failure.Store(err)
					return
				}
				for range replies {
					got, err := c.TryReadFrame()
					if err != nil || strings.HasPrefix(got, "-") || strings.Contains(got, "*2") && strings.Contains(got, "-ERR") {
						failure.Store(fmt.Errorf("%q, %w", got, err))
						return
					}
					if strings.Contains(got, "prod") && last == "dev" {
						last = "prod"
						switched.Add(1)
					} else if strings.Contains(got, "$3\r\ndev") && last == "prod" {
						failure.Store(fmt.Errorf("back in the old environment"))
					}
				}
				requests.Add(1)
			}
		})
	}
	wait := func(n int64) {
		before := requests.Load()
		redistest.Eventually(t, 20*time.Second, "requests", func() error {
			if requests.Load()-before < n && failure.Load() == nil {
				return fmt.Errorf("only %d", requests.Load()-before)
			}
			return nil
		})
	}
	wait(200)
	done := f.swap(f.to("prod"), filters.Retirement{Deadline: 20 * time.Second})
	wait(400)
	wantDone(t, done, true)
	stop()
	wg.Wait()
	if err := failure.Load(); err != nil {
		t.Error(err)
	}
	if switched.Load() != 20 {
		t.Errorf("%d of 20 clients have switched", switched.Load())
	}
	f.unpinned()
}

func TestRetireAtABoundary(t *testing.T) {
	t.Parallel()
	f, dev, _ := twoEnvironments(t)
	idle, inTx, watching, blocked, sub := f.dial(), f.dial(), f.dial(), f.dial(), f.dial()
	check(t, idle, "GET where", "$3 dev")
	check(t, inTx, "MULTI", "+OK", "GET where", "+QUEUED")
	check(t, watching, "WATCH where", "+OK")
	blocked.Send(redistest.Command("BLPOP", "q", "0") + redistest.Command("GET", "where"))
	check(t, sub, "SUBSCRIBE ch", "*3 $9 subscribe $2 ch :1")
	redistest.Eventually(t, 5*time.Second, "BLPOP", func() error {
		if got := dev.Info("blocked_clients"); got != "1" {
			return fmt.Errorf("%s clients are blocked", got)
		}
		return nil
	})
	done := f.swap(f.to("prod"), filters.Retirement{Deadline: time.Second})
	check(t, idle, "GET where", "$4 prod")
	check(t, inTx, "GET where", "+QUEUED", "EXEC", "*2 $3 dev $3 dev", "GET where", "$4 prod")
	check(t, watching, "GET where", "$3 dev", "MULTI", "+OK", "GET where", "+QUEUED", "EXEC", "*1 $3 dev", "GET where", "$4 prod")
	dev.Do("RPUSH", "q", "v")
	if got := blocked.ReadFrame(); got != redistest.Command("q", "v") {
		t.Errorf("BLPOP: %q", got)
	}
	if got := blocked.ReadFrame(); got != "$4\r\nprod\r\n" {
		t.Errorf("behind BLPOP: %q", got)
	}
	wantDone(t, done, false)
	if got := dev.Do("PUBLISH", "ch", "still"); got != ":1\r\n" {
		t.Errorf("PUBLISH: %q", got)
	}
	if got := sub.ReadFrame(); got != message("message", "ch", "still") {
		t.Errorf("got %q", got)
	}
	wantEnd(t, sub) // at the deadline
	wantDone(t, done, true)
	check(t, f.dial(), "GET where", "$4 prod")
	f.unpinned()
}

// A client that is blocked does not take the place of the new environment's clients
// for ever.
func TestRetireAtADeadline(t *testing.T) {
	t.Parallel()
	f, dev, prod := twoEnvironments(t)
	blocked := f.dial()
	blocked.Send(redistest.Command("BLPOP", "q", "0"))
	awaitBlocked(t, dev, "1")
	done := f.swap(f.to("prod"), filters.Retirement{Deadline: 100 * time.Millisecond})
	wantEnd(t, blocked)
	wantDone(t, done, true)
	awaitBlocked(t, dev, "0")
	blocked = f.dial()
	blocked.Send(redistest.Command("BLPOP", "q", "0"))
	awaitBlocked(t, prod, "1")
	done = f.swap(f.to("prod"), filters.Retirement{Deadline: 100 * time.Millisecond}) // where it is
	wantDone(t, done, true)
	prod.Do("RPUSH", "q", "v")
	if got := blocked.ReadFrame(); got != redistest.Command("q", "v") {
		t.Errorf("BLPOP: %q", got)
	}
	f.unpinned()
}

func TestRetireByCutting(t *testing.T) {
	t.Parallel()
	f, _, _ := twoEnvironments(t)
	idle, inTx, sub := f.dial(), f.dial(), f.dial()
	check(t, idle, "GET where", "$3 dev")
	check(t, inTx, "MULTI", "+OK", "GET where", "+QUEUED")
	check(t, sub, "SUBSCRIBE ch", "*3 $9 subscribe $2 ch :1")
	done := f.swap(f.to("prod"), filters.Retirement{Cut: true, Deadline: time.Hour})
	for _, c := range []*redistest.Client{idle, inTx, sub} {
		wantEnd(t, c)
	}
	wantDone(t, done, true)
	check(t, f.dial(), "GET where", "$4 prod")
	f.unpinned()
}

func TestRetireWithoutSuccessor(t *testing.T) {
	t.Parallel()
	f, _, _ := twoEnvironments(t)
	idle, inTx, watching, sub, monitor := f.dial(), f.dial(), f.dial(), f.dial(), f.dial()
	check(t, idle, "GET where", "$3 dev")
	check(t, inTx, "MULTI", "+OK", "GET where", "+QUEUED")
	check(t, watching, "WATCH where", "+OK")
	check(t, sub, "SUBSCRIBE ch", "*3 $9 subscribe $2 ch :1")
	check(t, monitor, "MONITOR", "+OK")
	done := f.swap(nil, filters.Retirement{Deadline: 20 * time.Second})
	for _, c := range []*redistest.Client{idle, sub, watching} {
		wantEnd(t, c)
	}
	wantDone(t, done, false)
	check(t, inTx, "EXEC", "*1 $3 dev")
	wantEnd(t, inTx)
	wantDone(t, done, true)
	f.unpinned()
}

func TestRetireTwice(t *testing.T) {
	t.Parallel()
	f, _, _ := twoEnvironments(t)
	inTx, idle := f.dial(), f.dial()
	check(t, idle, "GET where", "$3 dev")
	check(t, inTx, "MULTI", "+OK", "GET where", "+QUEUED")
	first := f.swap(f.to("prod"), filters.Retirement{Deadline: 20 * time.Second})
	second := f.swap(f.to("dev"), filters.Retirement{Deadline: 20 * time.Second})
	wantDone(t, second, true)
	wantDone(t, first, false)
	third := f.swap(nil, filters.Retirement{Deadline: 20 * time.Second})
	wantDone(t, third, true)
	wantEnd(t, idle)
	// it has nowhere to go when it is done
	check(t, inTx, "EXEC", "*1 $3 dev")
	inTx.Send(redistest.Command("GET", "where"))
	wantEnd(t, inTx)
	wantDone(t, first, true)
	f.unpinned()
}

func TestRetireWithTheSameClusters(t *testing.T) {
	t.Parallel()
	f, _, _ := twoEnvironments(t)
	inTx, sub := f.dial(), f.dial()
	check(t, inTx, "MULTI", "+OK", "GET where", "+QUEUED")
	check(t, sub, "SUBSCRIBE ch", "*3 $9 subscribe $2 ch :1")
	done := f.swap(f.to("dev"), filters.Retirement{Deadline: 20 * time.Second})
	wantDone(t, done, true) // nobody has to leave anything behind
	check(t, inTx, "GET where", "+QUEUED", "EXEC", "*2 $3 dev $3 dev", "PUBLISH ch x", ":1")
	if got := sub.ReadFrame(); got != message("message", "ch", "x") {
		t.Errorf("got %q", got)
	}
}

// TestUserGone: who is told things without asking is not told them any more once he would have to log in anew.
func TestUserGone(t *testing.T) {
	t.Parallel()
	f, _, _ := twoEnvironments(t)
	stays, goes := resource.User{Name: "stays"}, resource.User{Name: "goes"}
	users := func(list ...resource.User) func(*resource.RedisFilter) {
		return func(cfg *resource.RedisFilter) { cfg.Users = list }
	}
	wantDone(t, f.swap(f.to("dev", users(stays, goes)), filters.Retirement{Deadline: time.Minute}), true)
	subscribed := func(user string) *redistest.Client {
		c := f.dial()
		check(t, c, "AUTH "+user+" x", "+OK", "SUBSCRIBE ch", "*3 $9 subscribe $2 ch :1")
		return c
	}
	mine, theirs, monitors, inTx := subscribed("stays"), subscribed("goes"), f.dial(), f.dial()
	check(t, monitors, "AUTH goes x", "+OK", "MONITOR", "+OK")
	check(t, inTx, "AUTH goes x", "+OK", "MULTI", "+OK", "GET where", "+QUEUED")
	wantDone(t, f.swap(f.to("dev", users(stays)), filters.Retirement{Deadline: time.Minute}), true)
	wantClosed(t, theirs, 30*time.Second)
	wantClosed(t, monitors, 30*time.Second)
	check(t, inTx, "GET where", "-NOAUTH Authentication required.", "EXEC", "-EXECABORT Transaction discarded because of: Authentication required.")
	check(t, f.dial(), "AUTH stays x", "+OK", "PUBLISH ch m", ":1")
	if got := mine.ReadFrame(); got != message("message", "ch", "m") {
		t.Errorf("got %q", got)
	}
}

func TestUsersChange(t *testing.T) {
	t.Parallel()
	f, _, _ := twoEnvironments(t)
	c := f.dial()
	check(t, c, "GET where", "$3 dev", "SELECT 3", "+OK")
	users := func(list ...resource.User) func(*resource.RedisFilter) {
		return func(cfg *resource.RedisFilter) { cfg.Users = list }
	}
	main, other := []resource.SecretKey{{Name: "main"}}, []resource.SecretKey{{Name: "other"}}
	const noauth = "-NOAUTH Authentication required."
	change := func(cluster string, list ...resource.User) {
		t.Helper()
		wantDone(t, f.swap(f.to(cluster, users(list...)), filters.Retirement{Deadline: time.Minute}), true)
	}
	// who has never shown a password has to do so now
	change("prod", resource.User{Name: "default", Passwords: main}, resource.User{Name: "app", Passwords: other})
	check(t, c, "GET where", noauth, "AUTH app \"password of other\"", "+OK", "DBSIZE", ":0", "SELECT 0", "+OK", "GET where", "$4 prod")
	// who has may stay, with other rights
	change("prod", resource.User{Name: "app", Passwords: main, ReadOnly: true})
	check(t, c, "GET where", "$4 prod", "SET where x", "-NOPERM this user has no permissions to run the 'set' command")
	// unless he is not there any more
	change("prod", resource.User{Name: "default", Passwords: main})
	check(t, c, "GET where", noauth)
	change("prod")
	check(t, c, "GET where", "$4 prod")
	change("prod", resource.User{Name: "default", Deny: []string{"set"}})
	check(t, c, "GET where", "$4 prod", "SET where x", "-NOPERM this user has no permissions to run the 'set' command")
}

func TestDrain(t *testing.T) {
	t.Parallel()
	f, _, _ := twoEnvironments(t)
	idle, inTx := f.dial(), f.dial()
	check(t, idle, "GET where", "$3 dev")
	check(t, inTx, "MULTI", "+OK", "GET where", "+QUEUED")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- f.builder.Drain(ctx) }()
	wantEnd(t, idle)
	check(t, inTx, "EXEC", "*1 $3 dev")
	wantEnd(t, inTx)
	if err := <-drained; err != nil {
		t.Error(err)
	}
}
