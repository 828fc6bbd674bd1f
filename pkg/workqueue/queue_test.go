package workqueue_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/workqueue"
)

// stock is a queue to be tested, and what is behind it.
type stock struct {
	workqueue.Queue
	// open opens the same queue once more, as another process does.
	open func() workqueue.Queue
	// add adds an item and gives its name.
	add func(name, data string) string
	// dead gives what was put aside.
	dead func() []string
}

// kinds are the queues that all tests here are about.
func kinds() map[string]func(*testing.T, workqueue.Policy) *stock {
	return map[string]func(*testing.T, workqueue.Policy) *stock{"folder": folder, "stream": stream}
}

func folder(t *testing.T, p workqueue.Policy) *stock {
	dir := t.TempDir()
	s := &stock{open: func() workqueue.Queue {
		q, err := workqueue.OpenFolder(dir, workqueue.FolderOptions{Policy: p})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = q.Close() })
		return q
	}}
	s.Queue = s.open()
	s.add = func(name, data string) string {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	s.dead = func() []string {
		entries, err := os.ReadDir(filepath.Join(dir, ".dead"))
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range entries {
			if reason, ok := strings.CutSuffix(e.Name(), ".reason"); ok {
				text, err := os.ReadFile(filepath.Join(dir, ".dead", e.Name()))
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, reason+": "+strings.TrimSpace(string(text)))
			}
		}
		return out
	}
	return s
}

func stream(t *testing.T, p workqueue.Policy) *stock {
	server := redistest.Server(t)
	client := redistest.Dial(t, server.Addr())
	s := &stock{open: func() workqueue.Queue {
		q, err := workqueue.OpenStream(workqueue.StreamOptions{Address: server.Addr(), Key: "work", Policy: p})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = q.Close() })
		return q
	}}
	s.Queue = s.open()
	var mu sync.Mutex
	s.add = func(_, data string) string {
		mu.Lock()
		defer mu.Unlock()
		reply := client.Do("XADD", "work", "*", "data", data)
		_, id, _ := strings.Cut(reply, "\r\n")
		return strings.TrimSpace(id)
	}
	s.dead = func() []string {
		mu.Lock()
		defer mu.Unlock()
		var out []string
		words := strings.Split(client.Do("XRANGE", "work:dead", "-", "+"), "\r\n")
		for i, w := range words {
			if w == "dragoman-item" {
				out = append(out, words[i+2]+": "+words[i+6])
			}
		}
		return out
	}
	return s
}

// each runs a test for each kind of queue.
func each(t *testing.T, p workqueue.Policy, test func(*testing.T, *stock)) {
	t.Parallel()
	for name, open := range kinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t, p))
		})
	}
}

// patient is a policy whose leases do not run out in a test.
func patient() workqueue.Policy {
	return workqueue.Policy{Term: time.Hour, Attempts: 3, Pause: time.Millisecond}
}

func (s *stock) lease(t *testing.T, worker string) *workqueue.Lease {
	t.Helper()
	var l *workqueue.Lease
	redistest.Eventually(t, time.Minute, "an item", func() (err error) {
		l, err = s.Lease(t.Context(), worker)
		return err
	})
	return l
}

func (s *stock) list(t *testing.T) []string {
	t.Helper()
	names, err := s.List(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestManyItemsAreListed(t *testing.T) {
	each(t, patient(), func(t *testing.T, s *stock) {
		want := make([]string, 200)
		for i := range want {
			want[i] = s.add(fmt.Sprintf("item-%03d", i), "data")
		}
		for limit, want := range map[int][]string{1: want[:1], 64: want[:64], 130: want[:130], 200: want, 1000: want} {
			got, err := s.List(t.Context(), limit)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("of at most %d (-want +got):\n%s", limit, diff)
			}
		}
	})
}

func TestItemsAreListedLeasedAndDone(t *testing.T) {
	each(t, patient(), func(t *testing.T, s *stock) {
		if _, err := s.Lease(t.Context(), "w"); !errors.Is(err, workqueue.ErrDrained) {
			t.Errorf("an empty queue: %v", err)
		}
		a, b := s.add("a", "first"), s.add("b", "second")
		if diff := cmp.Diff([]string{a, b}, s.list(t)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		data := map[string]string{a: "first", b: "second"}
		var leases []*workqueue.Lease
		for range data {
			l := s.lease(t, "w")
			if string(l.Data) != data[l.Name] || l.Attempt != 1 {
				t.Errorf("lease %+v", l)
			}
			item, err := s.Get(t.Context(), l.Name) // as long as it is not done
			if err != nil || string(item.Data) != data[l.Name] {
				t.Errorf("%v, %v", item, err)
			}
			leases = append(leases, l)
		}
		for _, l := range leases {
			if _, err := s.Lease(t.Context(), "w"); !errors.Is(err, workqueue.ErrEmpty) {
				t.Errorf("with one at work: %v", err)
			}
			for _, o := range []workqueue.Outcome{workqueue.Renewed, workqueue.Done} {
				if err := s.Settle(t.Context(), l.ID, workqueue.Result{Outcome: o}); err != nil {
					t.Error(err)
				}
			}
			if err := s.Settle(t.Context(), l.ID, workqueue.Result{Outcome: workqueue.Done}); !errors.Is(err, workqueue.ErrLost) {
				t.Errorf("done twice: %v", err)
			}
		}
		if names := s.list(t); len(names) != 0 {
			t.Errorf("left: %q", names)
		}
		if _, err := s.Get(t.Context(), "nobody"); !errors.Is(err, workqueue.ErrNotFound) {
			t.Errorf("an item that is not there: %v", err)
		}
	})
}

func TestFailedItemsAreTriedAgainAndPutAside(t *testing.T) {
	each(t, workqueue.Policy{Term: time.Minute, Attempts: 3, Pause: time.Millisecond}, func(t *testing.T, s *stock) {
		name := s.add("bad", "x")
		for attempt := 1; attempt <= 3; attempt++ {
			l := s.lease(t, "w")
			if l.Attempt != attempt {
				t.Fatalf("attempt %d, want %d", l.Attempt, attempt)
			}
			if err := s.Settle(t.Context(), l.ID, workqueue.Result{Outcome: workqueue.Failed, Reason: "no luck"}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Lease(t.Context(), "w"); !errors.Is(err, workqueue.ErrDrained) {
			t.Errorf("afterwards: %v", err)
		}
		if diff := cmp.Diff([]string{name + ": no luck"}, s.dead()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// TestLeasesRunOut: the item is another's, and the former worker is told.
func TestLeasesRunOut(t *testing.T) {
	each(t, workqueue.Policy{Term: 300 * time.Millisecond, Attempts: 5, Pause: time.Millisecond}, func(t *testing.T, s *stock) {
		s.add("a", "x")
		first := s.lease(t, "vanished")
		second := s.lease(t, "other") // after some time
		if second.Name != first.Name || second.Attempt < 2 {
			t.Errorf("second lease: %+v", second)
		}
		if err := s.Settle(t.Context(), first.ID, workqueue.Result{Outcome: workqueue.Done}); !errors.Is(err, workqueue.ErrLost) {
			t.Errorf("the first one: %v", err)
		}
	})
}

// TestWorkersShareAQueue has workers of several processes do many items, some of
// which fail, while workers vanish in the middle of their work: each item is done,
// none is lost.
func TestWorkersShareAQueue(t *testing.T) {
	each(t, workqueue.Policy{Term: 2 * time.Second, Attempts: 100, Pause: time.Millisecond}, func(t *testing.T, s *stock) {
		const items = 300
		want := map[string]bool{}
		for i := range items {
			want[s.add(fmt.Sprintf("item-%03d", i), strconv.Itoa(i))] = true
		}
		var mu sync.Mutex
		done := map[string]int{}
		var vanished, failed atomic.Int64
		work := func(q workqueue.Queue, worker string) {
			for {
				l, err := q.Lease(t.Context(), worker)
				switch {
				case errors.Is(err, workqueue.ErrDrained):
					return
				case errors.Is(err, workqueue.ErrEmpty):
					<-time.After(10 * time.Millisecond) // others are at work
					continue
				case err != nil:
					t.Error(err)
					return
				}
				r := workqueue.Result{Outcome: workqueue.Done}
				switch n := rand.IntN(20); {
				case n == 0 && failed.Add(1) < 100:
					r = workqueue.Result{Outcome: workqueue.Failed, Reason: "unlucky"}
				case n == 1 && vanished.Add(1) < 20:
					continue // as if its process were killed: nothing is said of the lease
				default:
					mu.Lock()
					done[l.Name]++
					mu.Unlock()
				}
				if err := q.Settle(t.Context(), l.ID, r); err != nil && !errors.Is(err, workqueue.ErrLost) {
					t.Error(err)
				}
			}
		}
		var running sync.WaitGroup
		for i := range 8 {
			q := s.open()
			running.Go(func() { work(q, fmt.Sprintf("worker-%d", i)) })
		}
		running.Wait()
		twice := 0
		for name := range want {
			switch {
			case done[name] == 0:
				t.Errorf("%s is lost", name)
			case done[name] > 1:
				twice++
			}
		}
		t.Logf("%d items, %d failures, %d vanished, %d done more than once", items, failed.Load(), vanished.Load(), twice)
		if names := s.list(t); len(names) != 0 || len(s.dead()) != 0 {
			t.Errorf("left: %q, put aside: %q", names, s.dead())
		}
	})
}

func TestSourceInterface(t *testing.T) {
	t.Parallel()
	s := folder(t, patient())
	s.add("object", `{"a": 1}`)
	s.add("text", "plain")
	s.add("binary", "\xff\x00")
	server := httptest.NewServer(workqueue.NewServer(s.Queue, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	ask := func(method, path string) string {
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return strconv.Itoa(resp.StatusCode) + " " + strings.TrimSpace(string(body))
	}
	for path, want := range map[string]string{
		"/api/v1/items":        `200 {"kind":"ItemList","apiVersion":"v1","items":["binary","object","text"]}`,
		"/items":               `200 {"kind":"ItemList","apiVersion":"v1","items":["binary","object","text"]}`,
		"/api/v1/items/object": `200 {"kind":"Item","apiVersion":"v1","data":{"a":1}}`,
		"/items/text":          `200 {"kind":"Item","apiVersion":"v1","data":{"content":"plain"}}`,
		"/items/binary":        `200 {"kind":"Item","apiVersion":"v1","data":{"base64":"/wA="}}`,
		"/items/nobody":        `404 there is no such item: "nobody"`,
		"/items/..%2f..%2fetc": `404 there is no such item: "../../etc": names of items have no / and no ~ and do not begin with a dot`,
		"/items/.leased":       `404 there is no such item: ".leased": names of items have no / and no ~ and do not begin with a dot`,
	} {
		if got := ask(http.MethodGet, path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	for range 3 {
		l := ask(http.MethodPost, "/api/v1/leases?worker=w")
		id, _, _ := strings.Cut(l[strings.Index(l, `"id":"`)+6:], `"`)
		if got := ask(http.MethodPost, "/api/v1/leases/"+id+"/renew"); !strings.HasPrefix(l, "201 ") || got != "204 " {
			t.Errorf("%s: %s", l, got)
		}
		if got := ask(http.MethodPost, "/api/v1/leases/"+id+"/lost"); !strings.HasPrefix(got, "404 ") {
			t.Errorf("an outcome that is none: %s", got)
		}
		if got := ask(http.MethodPost, "/api/v1/leases/"+id+"/done"); got != "204 " {
			t.Error(got)
		}
		if got := ask(http.MethodPost, "/api/v1/leases/"+id+"/done"); !strings.HasPrefix(got, "409 ") {
			t.Errorf("done twice: %s", got)
		}
	}
	if got := ask(http.MethodPost, "/api/v1/leases"); got != "410 all items are done" {
		t.Error(got)
	}
}
