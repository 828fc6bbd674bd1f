package listener_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/listener"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func TestSwapBeneathSocket(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addr := freePort(t)
	f.mustApply(t, spec("a", addr, &greeting{text: "one"}))
	if got := hear(t, "tcp", addr); got != "one" {
		t.Fatalf("got %q", got)
	}
	f.mustApply(t, spec("a", addr, &greeting{text: "one"}))
	if f.all.built.Load() != 1 {
		t.Errorf("a filter that did not change was built again")
	}
	f.mustApply(t, spec("renamed", addr, &greeting{text: "two"}))
	if got := hear(t, "tcp", addr); got != "two" {
		t.Errorf("got %q", got)
	}
	if n := f.all.retired.Load(); n != 1 {
		t.Errorf("%d filters retired, want 1", n)
	}
	f.mustApply(t)
	if got := hear(t, "tcp", addr); !strings.Contains(got, "refused") {
		t.Errorf("a removed listener says %q", got)
	}
	if n := f.all.retired.Load(); n != 2 {
		t.Errorf("%d filters retired, want 2", n)
	}
}

// TestNoRefusalDuringReload connects without pause while filters are swapped.
func TestNoRefusalDuringReload(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addr := freePort(t)
	f.mustApply(t, spec("a", addr, &greeting{text: "0"}))
	stop := make(chan struct{})
	var bad atomic.Value
	var count atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got := hear(t, "tcp", addr); len(got) != 1 {
					bad.Store(got)
				}
				count.Add(1)
			}
		})
	}
	for i := 0; i < 50 || count.Load() < 100; i++ {
		f.mustApply(t, spec("a", addr, &greeting{text: string(rune('0' + i%10))}))
	}
	close(stop)
	wg.Wait()
	if got := bad.Load(); got != nil {
		t.Errorf("a client heard %q", got)
	}
}

func TestClusterReplaced(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.deps.Clusters = clusters{"c": &cluster{"c"}}
	l := spec("a", freePort(t), &greeting{text: "x", cluster: "c"})
	f.mustApply(t, l)
	f.mustApply(t, l)
	f.deps.Clusters = clusters{"c": &cluster{"c"}}
	f.mustApply(t, l)
	if n := f.all.built.Load(); n != 2 {
		t.Errorf("built %d times, want once more for a new cluster of the same name", n)
	}
	f.deps.Clusters = clusters{}
	if err := f.apply(t, l); err == nil || !strings.Contains(err.Error(), `no cluster "c"`) {
		t.Errorf("a cluster is missing: %v", err)
	}
}

func TestErrorsKeepTheOld(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addr, fresh := freePort(t), freePort(t)
	f.mustApply(t, spec("a", addr, &greeting{text: "old"}))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	cases := map[string][]*resource.Listener{
		"filter": {spec("a", addr, &greeting{text: "new"}), spec("b", fresh, &greeting{refuse: true})},
		"taken":  {spec("a", addr, &greeting{text: "new"}), spec("b", fresh, &greeting{text: "b"}), spec("c", taken.Addr().String(), &greeting{})},
		"twice":  {spec("a", addr, &greeting{text: "new"}), spec("b", addr, &greeting{text: "b"})},
	}
	for name, specs := range cases {
		err := f.apply(t, specs...)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		var bind *listener.BindError
		if errors.As(err, &bind) != (name == "taken") {
			t.Errorf("%s: %v", name, err)
		}
		if bind != nil && !bind.Taken() {
			t.Errorf("%s: not taken: %v", name, err)
		}
		if got := hear(t, "tcp", addr); got != "old" {
			t.Errorf("%s: the running listener says %q", name, got)
		}
		if got := hear(t, "tcp", fresh); !strings.Contains(got, "refused") {
			t.Errorf("%s: the discarded listener says %q", name, got)
		}
	}
	if built, retired := f.all.built.Load(), f.all.retired.Load(); built-retired != 1 {
		t.Errorf("%d filters built, %d retired", built, retired)
	}
}

func TestMoveToAllAddresses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addr := freePort(t)
	all := strings.Replace(addr, "127.0.0.1", "0.0.0.0", 1)
	f.mustApply(t, spec("a", addr, &greeting{text: "one"}))
	f.mustApply(t, spec("a", all, &greeting{text: "all"}))
	if got := hear(t, "tcp", addr); got != "all" {
		t.Errorf("got %q", got)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := f.apply(t, spec("a", addr, &greeting{text: "back"}), spec("b", taken.Addr().String(), &greeting{})); err == nil {
		t.Fatal("a taken port is accepted")
	}
	if got := hear(t, "tcp", addr); got != "all" {
		t.Errorf("after the refusal: %q", got)
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	path := filepath.Join(t.TempDir(), "s")
	l := spec("a", path, &greeting{text: "unix"})
	l.Address.Mode = 0o600
	f.mustApply(t, l)
	if got := hear(t, "unix", path); got != "unix" {
		t.Errorf("got %q", got)
	}
	mode := func() os.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if got := mode(); got != 0o600 {
		t.Errorf("mode %o", got)
	}
	changed := spec("a", path, &greeting{text: "unix"})
	changed.Address.Mode = 0o666
	f.mustApply(t, changed)
	if got := mode(); got != 0o666 {
		t.Errorf("mode %o after the change", got)
	}
	f.mustApply(t)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestMaxConnections(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addr := freePort(t)
	l := spec("a", addr, &greeting{text: "in"})
	l.MaxConnections = 1
	f.mustApply(t, l)
	first, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	b := make([]byte, 2)
	if _, err := io.ReadFull(first, b); err != nil {
		t.Fatal(err)
	}
	// The greeter closes its side; whether the first is gone already is a race
	// that both answers are right in.
	if got := hear(t, "tcp", addr); got != "full\n" && got != "in" {
		t.Errorf("got %q", got)
	}
}

func TestCutAndStatus(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addr := freePort(t)
	l := spec("a", addr, &greeting{text: "1"})
	l.Environment, l.EnvironmentSource = "prod", "--environment"
	f.mustApply(t, l)
	want := []listener.Status{{Name: "a", Address: addr, Network: "tcp", Environment: "prod", Source: "--environment"}}
	if diff := cmp.Diff(want, f.set.Status()); diff != "" {
		t.Error(diff)
	}
	for i, environment := range []string{"prod", "dev"} {
		next := spec("a", addr, &greeting{text: fmt.Sprint("next ", i)})
		next.Environment, next.Drain.Mode = environment, resource.DrainCut
		f.mustApply(t, next)
	}
	if diff := cmp.Diff([]bool{false, true}, f.all.cuts); diff != "" {
		t.Errorf("what the new listener says of old connections: %s", diff)
	}
}

func TestStopAccepting(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addr := freePort(t)
	f.mustApply(t, spec("a", addr, &greeting{text: "1"}))
	f.set.StopAccepting()
	if got := hear(t, "tcp", addr); !strings.Contains(got, "refused") {
		t.Errorf("got %q", got)
	}
	if err := f.apply(t, spec("a", addr, &greeting{text: "2"})); !errors.Is(err, listener.ErrDraining) {
		t.Errorf("a change during shutdown: %v", err)
	}
}
