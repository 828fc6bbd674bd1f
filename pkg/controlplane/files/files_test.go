package files_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/files"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/trust"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/watch"
)

const limit = time.Minute

const cache = `
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: cache, namespace: shop}
spec: {protocol: redis, listen: {port: 6380}, environments: {dev: {service: {name: redis, port: 6379}}}}
`

// adapter has the name of the Ambassador.
const adapter = `
apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: cache, namespace: shop}
spec: {metrics: {listen: {port: 9113}, sources: [{name: cron, textfile: {path: /var/lib/metrics}}]}}
`

const service = `
apiVersion: v1
kind: Service
metadata: {name: redis, namespace: shop, annotations: {mesh.dragoman.io/allow-from: "bank, office"}}
spec: {clusterIP: None, ports: [{name: redis, port: 6379}]}
`

const slice = `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: redis-a, namespace: shop, labels: {kubernetes.io/service-name: redis}}
addressType: IPv4
ports: [{name: redis, port: 7001}]
endpoints:
- {addresses: [10.0.0.1], zone: a, targetRef: {kind: Pod, name: redis-0}}
`

const pod = `
apiVersion: v1
kind: Pod
metadata: {name: redis-0, namespace: shop, labels: {role: primary}}
spec: {containers: []}
`

// TestDocumentsBecomeAnInventory: Services are joined with endpoints, and these
// with the labels of pods, whichever files they are in.
func TestDocumentsBecomeAnInventory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yaml", slice+"---"+cache)
	write(t, dir, "b.yaml", pod+"---"+service+"---"+adapter)
	write(t, dir, "ignored.txt", "not YAML: [")
	docs, err := files.Load([]string{dir}, "")
	if err != nil {
		t.Fatal(err)
	}
	store := docs.Inventory()
	key := inventory.Key{Namespace: "shop", Name: "redis"}
	want := &inventory.Service{
		Key: key, Headless: true, AllowFrom: []string{"bank", "office"},
		Ports: []inventory.ServicePort{{Name: "redis", Port: 6379, Protocol: "TCP"}},
		Endpoints: []inventory.Endpoint{{
			Address: "10.0.0.1", Ports: map[string]uint32{"redis": 7001}, Ready: true, Serving: true,
			Pod: "redis-0", Labels: map[string]string{"role": "primary"}, Zone: "a",
		}},
	}
	if diff := cmp.Diff(want, store.Service(key)); diff != "" {
		t.Errorf("service (-want +got):\n%s", diff)
	}
	if o := store.Ambassador(inventory.Key{Namespace: "shop", Name: "cache"}); o == nil || o.Err != nil || o.Generation != 1 {
		t.Errorf("object: %+v", o)
	}
	if o := store.Adapter(inventory.Key{Namespace: "shop", Name: "cache"}); o == nil || mesh.KindOf(o.Object) != mesh.KindAdapter {
		t.Errorf("adapter: %+v", o)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	filetest.Put(t, filepath.Join(dir, name), text)
}

// following is a source that runs.
type following struct {
	*files.Source
	t     *testing.T
	dir   string
	store *inventory.Store
	nodes chan int // how many, whenever they are told
}

func follow(t *testing.T) *following {
	t.Helper()
	f := &following{t: t, dir: t.TempDir(), store: inventory.NewStore(), nodes: make(chan int, 100)}
	write(t, f.dir, "a.yaml", cache+"---"+service+"---"+slice+"---"+pod)
	write(t, f.dir, "nodes", "nodes: [{name: vm-1, token: 0123456789abcdef}]")
	f.Source = files.New(files.Options{
		Paths: []string{f.dir}, NodesFile: filepath.Join(f.dir, "nodes"), Log: slog.New(slog.DiscardHandler),
		OnNodes: func(n *trust.Nodes) { f.nodes <- len(n.Pods()) },
		Watch:   watch.Options{Debounce: 10 * time.Millisecond},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := f.Run(ctx, f.store); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	select {
	case <-f.Synced():
	case <-time.After(limit):
		t.Fatal("the documents are not read")
	}
	return f
}

// until takes changes until those that are wanted are among them, and nothing
// else.
func (f *following) until(want ...string) {
	f.t.Helper()
	deadline := time.After(limit)
	seen := map[string]bool{}
	for len(seen) < len(want) {
		select {
		case <-f.store.Changed():
			for ref, at := range f.store.Take() {
				seen[ref.Kind.String()+" "+ref.String()] = true
				if at.IsZero() {
					f.t.Errorf("%s has changed at no time", ref)
				}
			}
		case <-deadline:
			f.t.Fatalf("changed: %v, want %v", seen, want)
		}
	}
	for _, w := range want {
		if !seen[w] {
			f.t.Errorf("changed: %v, want %v", seen, want)
		}
	}
}

// TestOnlyWhatChangesIsTold: of a file with many documents.
func TestOnlyWhatChangesIsTold(t *testing.T) {
	t.Parallel()
	f := follow(t)
	f.until("Ambassador shop/cache", "Service shop/redis", "Pod shop/redis-0", "Pod default/vm-1")
	if n := <-f.nodes; n != 1 {
		t.Errorf("%d nodes", n)
	}
	write(t, f.dir, "a.yaml", cache+"---"+service+"---"+strings.Replace(slice, "7001", "7002", 1)+"---"+pod)
	f.until("Service shop/redis")
	write(t, f.dir, "a.yaml", strings.Replace(cache, "6380", "6381", 1)+"---"+service+"---"+slice)
	f.until("Ambassador shop/cache", "Service shop/redis", "Pod shop/redis-0") // whose labels the endpoint had
	if o := f.store.Ambassador(inventory.Key{Namespace: "shop", Name: "cache"}); o.Generation != 2 {
		t.Errorf("generation %d", o.Generation)
	}
	write(t, f.dir, "nodes", "nodes: []")
	f.until("Pod default/vm-1")
	if f.store.Pod(inventory.Key{Namespace: "default", Name: "vm-1"}) != nil {
		t.Error("the node is still there")
	}
}

// TestRefusedChangeLeavesAll: whichever file it is in.
func TestRefusedChangeLeavesAll(t *testing.T) {
	t.Parallel()
	f := follow(t)
	f.until("Ambassador shop/cache", "Service shop/redis", "Pod shop/redis-0", "Pod default/vm-1")
	write(t, f.dir, "b.yaml", "kind: [")
	deadline := time.After(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		problems, since := f.Problems()
		if len(problems) == 1 && strings.Contains(problems[0], "b.yaml:1") && !since.IsZero() {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("problems: %v", problems)
		}
	}
	if changes := f.store.Take(); len(changes) > 0 {
		t.Errorf("changed: %v", changes)
	}
	write(t, f.dir, "b.yaml", strings.ReplaceAll(pod, "redis-0", "redis-1"))
	f.until("Pod shop/redis-1")
	if problems, _ := f.Problems(); len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
}

// TestWrongAtTheStart is an error of Run.
func TestWrongAtTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yaml", "kind: Nonsense\napiVersion: v1\n")
	s := files.New(files.Options{Paths: []string{dir}, Log: slog.New(slog.DiscardHandler)})
	err := s.Run(t.Context(), inventory.NewStore())
	if e, ok := errors.AsType[*mesh.Error](err); !ok || e.Line != 1 || e.Path != "kind" {
		t.Errorf("got %v", err)
	}
}

// FuzzLoad: whatever is in a file, reading it ends, and what is wrong has a
// place in that file.
func FuzzLoad(f *testing.F) {
	for _, text := range []string{cache, service, slice, pod, cache + "---" + service, "--- \n---\n", "a: &a [*a]", "- x", "? {a: b}\n: c\napiVersion: v1\nkind: Pod"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		name := filepath.Join(dir, "a.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		docs, err := files.Load([]string{name}, "")
		if (docs == nil) == (err == nil) {
			t.Fatalf("documents %v and error %v", docs, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), fmt.Sprint(name, ":")) {
			t.Errorf("no place: %v", err)
		}
	})
}
