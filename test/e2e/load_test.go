package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// appClient is an app as most are: go-redis on one address, one connection, no retries that would hide an error. It keeps writing values that
// it never wrote before, and reads them back. A reply that cannot be true is a wrong answer, and there may never be one; an error is not a
// wrong answer, but leaves it open whether the write happened.
type appClient struct {
	client *redis.Client
	id     int
	// keys are of three kinds: two that share a slot or shard, and others that need not.
	keys []string
	// durable waits for a replica after each write, so that what counts as written survives the primary.
	durable atomic.Bool
	stop    chan struct{}
	done    sync.WaitGroup

	possible map[string][]string // what a key may hold, absent is empty; the run's goroutine only

	mu     sync.Mutex // guards what follows
	good   int        // operations that were answered without an error
	wrong  []string
	failed []failure
}

type failure struct {
	at   time.Time
	what string
	conn bool // the connection broke, rather than an error reply
}

// startApps starts n apps and ends them with the test.
func startApps(t *testing.T, addr string, n int, durable bool) []*appClient {
	t.Helper()
	var apps []*appClient
	for i := range n {
		client := redis.NewClient(&redis.Options{
			Addr: addr, MaxRetries: -1, PoolSize: 1, ReadTimeout: 30 * time.Second, Protocol: 2 + i%2,
		})
		a := &appClient{client: client, id: i, stop: make(chan struct{}), possible: map[string][]string{}}
		a.durable.Store(durable)
		for k := range 2 {
			a.keys = append(a.keys, fmt.Sprintf("{app%d}%d", i, k), fmt.Sprintf("app%d:%d", i, k))
		}
		for _, key := range a.keys {
			a.possible[key] = []string{""}
		}
		a.done.Go(a.run)
		t.Cleanup(func() {
			a.end()
			_ = client.Close()
		})
		apps = append(apps, a)
	}
	return apps
}

func (a *appClient) run() {
	pause := time.NewTicker(3 * time.Millisecond)
	defer pause.Stop()
	for n := 0; ; n++ {
		select {
		case <-a.stop:
			return
		case <-pause.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		switch n % 6 {
		case 0:
			value := fmt.Sprintf("a%d-%d", a.id, n)
			if n%18 == 0 {
				value += strings.Repeat("large", 20<<10)
			}
			a.write(ctx, value, a.keys[n/6%len(a.keys)])
		case 1:
			a.write(ctx, fmt.Sprintf("a%d-%d", a.id, n), a.keys...)
		case 3:
			a.remove(ctx, a.keys[n/6%len(a.keys)], a.keys[(n/6+2)%len(a.keys)])
		case 5:
			a.read(ctx, a.keys[n%len(a.keys)])
		default:
			a.read(ctx, a.keys...)
		}
		cancel()
	}
}

func (a *appClient) write(ctx context.Context, value string, keys ...string) {
	var err error
	if len(keys) == 1 {
		err = a.client.Set(ctx, keys[0], value, 0).Err()
	} else {
		var pairs []string
		for _, key := range keys {
			pairs = append(pairs, key, value)
		}
		err = a.client.MSet(ctx, pairs).Err()
	}
	a.changed(ctx, err, value, keys)
}

func (a *appClient) remove(ctx context.Context, keys ...string) {
	a.changed(ctx, a.client.Del(ctx, keys...).Err(), "", keys)
}

// trustPrimaries is for when no replica is left that could confirm a write.
func trustPrimaries(apps []*appClient) {
	for _, a := range apps {
		a.durable.Store(false)
	}
}

// changed notes what keys may hold after a write.
func (a *appClient) changed(ctx context.Context, err error, value string, keys []string) {
	sure := err == nil
	if sure && a.durable.Load() {
		n, waitErr := a.client.Wait(ctx, 1, 500*time.Millisecond).Result()
		sure = waitErr == nil && n >= 1
	}
	for _, key := range keys {
		if sure {
			a.possible[key] = []string{value}
		} else {
			a.possible[key] = append(a.possible[key], value)
		}
	}
	a.note(err, "writing "+strings.Join(keys, " "))
}

func (a *appClient) read(ctx context.Context, keys ...string) {
	values := make([]any, 1)
	var err error
	if len(keys) == 1 {
		var s string
		if s, err = a.client.Get(ctx, keys[0]).Result(); err == nil {
			values[0] = s
		} else if errors.Is(err, redis.Nil) {
			err = nil
		}
	} else {
		values, err = a.client.MGet(ctx, keys...).Result()
	}
	if err == nil {
		for i, key := range keys {
			got, _ := values[i].(string)
			if !slices.Contains(a.possible[key], got) {
				a.lie(fmt.Sprintf("%s: got %.40q, possible are %.200q", key, got, a.possible[key]))
			}
		}
	}
	a.note(err, "reading "+strings.Join(keys, " "))
}

func (a *appClient) lie(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wrong = append(a.wrong, what)
}

func (a *appClient) note(err error, what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.good++
		return
	}
	var reply redis.Error
	a.failed = append(a.failed, failure{time.Now(), what + ": " + err.Error(), !errors.As(err, &reply)})
}

func (a *appClient) end() {
	a.mu.Lock()
	select {
	case <-a.stop:
	default:
		close(a.stop)
	}
	a.mu.Unlock()
	a.done.Wait()
}

func (a *appClient) state() (good int, wrong []string, failed []failure) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.good, slices.Clone(a.wrong), slices.Clone(a.failed)
}

// awaitGood waits until each app has done n more operations without an error.
func awaitGood(t *testing.T, apps []*appClient, n int) {
	t.Helper()
	goal := make([]int, len(apps))
	for i, a := range apps {
		good, _, _ := a.state()
		goal[i] = good + n
	}
	for i, a := range apps {
		redistest.Eventually(t, time.Minute, "operations of an app", func() error {
			good, wrong, failed := a.state()
			if good >= goal[i] {
				return nil
			}
			last := failure{}
			if len(failed) > 0 {
				last = failed[len(failed)-1]
			}
			return fmt.Errorf("app %d: %d of %d; %d errors, the last: %s; wrong: %.300q", a.id, n-(goal[i]-good), n, len(failed), last.what, wrong)
		})
	}
}

// awaitSteady waits until every app has done n operations in a row without an error, and returns when the last error was.
func awaitSteady(t *testing.T, apps []*appClient, n int) (lastError time.Time) {
	t.Helper()
	for _, a := range apps {
		redistest.Eventually(t, time.Minute, "an app without errors", func() error {
			before, _, failedBefore := a.state()
			awaitGood(t, []*appClient{a}, n)
			_, _, failed := a.state()
			if len(failed) > len(failedBefore) {
				return fmt.Errorf("app %d after %d good operations: %s", a.id, before, failed[len(failed)-1].what)
			}
			return nil
		})
		_, _, failed := a.state()
		if len(failed) > 0 && failed[len(failed)-1].at.After(lastError) {
			lastError = failed[len(failed)-1].at
		}
	}
	return lastError
}

// wantNoErrors fails the test for every error since a time.
func wantNoErrors(t *testing.T, apps []*appClient, since time.Time, while string) {
	t.Helper()
	for _, a := range apps {
		_, _, failed := a.state()
		for _, f := range failed {
			if f.at.After(since) {
				t.Errorf("app %d, %s: %s", a.id, while, f.what)
			}
		}
	}
}

// wantTrueAnswers ends the apps. None may have had a wrong answer or lost its connection, and what was written must be there.
func wantTrueAnswers(t *testing.T, apps []*appClient) {
	t.Helper()
	for _, a := range apps {
		a.end()
		for _, key := range a.keys {
			a.read(t.Context(), key)
		}
		good, wrong, failed := a.state()
		for _, w := range wrong {
			t.Errorf("app %d: wrong answer: %s", a.id, w)
		}
		for _, f := range failed {
			if f.conn {
				t.Errorf("app %d lost its connection %s", a.id, f.what)
			}
		}
		if good < 20 {
			t.Errorf("app %d did only %d operations", a.id, good)
		}
	}
}
