package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// pipeliner is an app that sends batches of requests, and knows what each reply must be.
type pipeliner struct {
	client *redistest.Client
	id     int
	// fixed is set where the keys stay where they are, so that what was written must be read. Otherwise a key may be missing or old, but
	// never another's.
	fixed bool
	stop  chan struct{}
	once  sync.Once
	done  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	batches int
	wrong   []string
}

// startPipeliners starts n pipeliners and ends them with the test.
func startPipeliners(t *testing.T, addr string, n int, fixed bool) []*pipeliner {
	t.Helper()
	var all []*pipeliner
	for i := range n {
		p := &pipeliner{client: redistest.Dial(t, addr), id: i, fixed: fixed, stop: make(chan struct{})}
		p.client.Timeout = 30 * time.Second
		p.done.Go(p.run)
		t.Cleanup(p.end)
		all = append(all, p)
	}
	return all
}

func (p *pipeliner) end() {
	p.once.Do(func() { close(p.stop) })
	p.done.Wait()
}

func (p *pipeliner) run() {
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	for n := 0; ; n++ {
		select {
		case <-p.stop:
			return
		case <-pause.C:
		}
		wrong := p.batch(n)
		p.mu.Lock()
		p.batches++
		if wrong != "" {
			p.wrong = append(p.wrong, wrong)
		}
		p.mu.Unlock()
		if wrong != "" {
			return
		}
	}
}

// batch sends some requests at once and compares their replies.
func (p *pipeliner) batch(n int) (wrong string) {
	name := func(i int) string { return fmt.Sprintf("p%d:%d", p.id, (n+i)%16) }
	value, once := fmt.Sprint(name(0), "=", n), fmt.Sprintf("once-%d-%d", p.id, n)
	batch := []struct {
		command []string
		want    string // or empty: see isValue
	}{
		{[]string{"ECHO", once}, bulkOf(once)},
		{[]string{"SET", name(0), value}, "+OK\r\n"},
		{[]string{"GET", name(0)}, bulkOf(value)},
		{[]string{"EVAL", "return ARGV[1]", "1", name(1), once}, bulkOf(once)},
		{[]string{"MGET", name(0), name(1), name(2)}, ""},
		{[]string{"EXISTS", "never" + once}, ":0\r\n"},
	}
	var all strings.Builder
	for _, b := range batch {
		all.WriteString(redistest.Command(b.command...))
	}
	if err := p.client.TrySend(all.String()); err != nil {
		return err.Error()
	}
	for _, b := range batch {
		got, err := p.client.TryReadFrame()
		switch {
		case err != nil:
			return fmt.Sprintf("%q: %q, %v", b.command, got, err)
		case b.command[0] == "MGET":
			err = checkMGet(got, b.command[1:])
		case b.command[0] == "GET" && !p.fixed:
			err = checkValue(got, b.command[1])
		case got != b.want:
			err = fmt.Errorf("want %q", b.want)
		}
		if err != nil {
			return fmt.Sprintf("%q: got %q: %v", b.command, got, err)
		}
	}
	return ""
}

func bulkOf(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// checkValue wants a value that was once written under the key, or none.
func checkValue(frame, key string) error {
	_, value, _ := strings.Cut(frame, "\r\n")
	if frame != "$-1\r\n" && !strings.HasPrefix(value, key+"=") {
		return fmt.Errorf("not a value of %s", key)
	}
	return nil
}

func checkMGet(frame string, keys []string) error {
	header, rest, _ := strings.Cut(frame, "\r\n")
	if header != fmt.Sprintf("*%d", len(keys)) {
		return fmt.Errorf("want %d values", len(keys))
	}
	for _, key := range keys {
		length, after, _ := strings.Cut(rest, "\r\n")
		if length == "$-1" {
			rest = after
			continue
		}
		if err := checkValue(rest, key); err != nil {
			return err
		}
		_, rest, _ = strings.Cut(after, "\r\n")
	}
	return nil
}

// awaitBatches waits until each pipeliner has done n more batches.
func awaitBatches(t *testing.T, all []*pipeliner, n int) {
	t.Helper()
	goal := make([]int, len(all))
	for i, p := range all {
		done, _ := p.state()
		goal[i] = done + n
	}
	for i, p := range all {
		redistest.Eventually(t, time.Minute, "batches", func() error {
			done, wrong := p.state()
			if len(wrong) > 0 || done >= goal[i] {
				return nil
			}
			return fmt.Errorf("pipeliner %d: %d of %d", p.id, n-(goal[i]-done), n)
		})
	}
}

func (p *pipeliner) state() (batches int, wrong []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.batches, p.wrong
}

// wantNothingWrong fails the test for every reply that was not what it must be.
func wantNothingWrong(t *testing.T, all []*pipeliner, while string) {
	t.Helper()
	for _, p := range all {
		p.mu.Lock()
		for _, w := range p.wrong {
			t.Errorf("pipeliner %d of %s, %s: %s", p.id, p.client.Conn().RemoteAddr(), while, w)
		}
		p.wrong = nil
		p.mu.Unlock()
	}
}
