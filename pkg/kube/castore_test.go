package kube_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/pkg/kube"
	"github.com/dragoman-mesh/dragoman/pkg/kube/v1alpha1"
)

// TestCAStoreHasOneWinner: of replicas that save at the same time one does, and
// the others learn that they have to load.
func TestCAStoreHasOneWinner(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	system := install(t, api)
	p := startPlane(t, account(t, api, system), system)
	s := kube.NewCAStore(p.clients, p.source, kube.Replica{Name: "a", Namespace: system}, nil)
	if _, _, err := s.Load(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before there is anything: %v", err)
	}
	race := func(version string) {
		t.Helper()
		var won atomic.Int32
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				err := s.Save(t.Context(), map[string][]byte{"tls.key": fmt.Appendf(nil, "%d after %q", i, version)}, version)
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, fs.ErrExist) {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if won.Load() != 1 {
			t.Errorf("%d of 8 saved", won.Load())
		}
	}
	race("")
	data, version, err := s.Load(t.Context())
	if err != nil || len(data["tls.key"]) == 0 {
		t.Fatalf("%v, %v", data, err)
	}
	race(version)
	if err := api.Client().CoreV1().Secrets(system).Delete(t.Context(), kube.CASecret, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), data, version); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over what is gone: %v", err)
	}
}

// published gives what proxies of a namespace are told to trust.
func published(t *testing.T, api *kubetest.Server, ns string) func() string {
	return func() string {
		m, err := api.Client().CoreV1().ConfigMaps(ns).Get(t.Context(), kube.CAConfigMap, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "none"
		}
		if err != nil {
			t.Fatal(err)
		}
		return m.Data[kube.CAKey]
	}
}

// TestCAStorePublishes: where objects are, when they come, and again when
// somebody takes it away.
func TestCAStorePublishes(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	system, first, second, empty := install(t, api), api.Namespace(t), api.Namespace(t), api.Namespace(t)
	api.Apply(t, first, cacheObject)
	a := startReplica(t, account(t, api, system), system, "a")
	if err := a.store.Publish(t.Context(), []byte("one")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace of an object", "one", published(t, api, first))
	eventually(t, "the own namespace", "one", published(t, api, system))
	api.Apply(t, second, cacheObject)
	eventually(t, "a namespace that got one", "one", published(t, api, second))
	if err := a.store.Publish(t.Context(), []byte("one\ntwo")); err != nil {
		t.Fatal(err)
	}
	for _, ns := range []string{system, first, second} {
		eventually(t, "rotation", "one\ntwo", published(t, api, ns))
	}
	maps := api.Client().CoreV1().ConfigMaps(first)
	if err := maps.Delete(t.Context(), kube.CAConfigMap, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "deleted by somebody", "one\ntwo", published(t, api, first))
	m, err := maps.Get(t.Context(), kube.CAConfigMap, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.Data[kube.CAKey] = "mine"
	if _, err := maps.Update(t.Context(), m, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "changed by somebody", "one\ntwo", published(t, api, first))
	if diff := cmp.Diff("none", published(t, api, empty)()); diff != "" {
		t.Errorf("a namespace without objects:\n%s", diff)
	}
}

// TestCAStoreLeavesEndingNamespaces: where nothing is made any more nothing is missing, and
// nobody is warned again and again while a namespace takes its time to end.
func TestCAStoreLeavesEndingNamespaces(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	system, first, second := install(t, api), api.Namespace(t), api.Namespace(t)
	api.Apply(t, first, cacheObject)
	p := startPlane(t, account(t, api, system), system)
	p.await(t)
	var log lockedBuffer
	s := kube.NewCAStore(p.clients, p.source, kube.Replica{Name: "a", Namespace: system}, slog.New(slog.NewTextHandler(&log, nil)))
	background(t, func(ctx context.Context) error {
		s.Lead(ctx)
		return nil
	})
	if err := s.Publish(t.Context(), []byte("one")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace of an object", "one", published(t, api, first))
	if err := api.Client().CoreV1().Namespaces().Delete(t.Context(), first, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := api.Client().CoreV1().ConfigMaps(first).Delete(t.Context(), kube.CAConfigMap, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(t.Context(), []byte("two")); err != nil {
		t.Fatal(err)
	}
	api.Apply(t, second, cacheObject)
	eventually(t, "another namespace", "two", published(t, api, second))
	eventually(t, "the own namespace", "two", published(t, api, system))
	if got := published(t, api, first)(); got != "none" {
		t.Errorf("in the ending namespace: %q", got)
	}
	if text := log.String(); strings.Contains(text, first) {
		t.Errorf("the log:\n%s", text)
	}
}

// lockedBuffer is a log that is written and read at the same time.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestRightsAreLeast: what the manifest does not grant, and a control plane does
// not need.
func TestRightsAreLeast(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	system, ns := install(t, api), api.Namespace(t)
	clients, err := kube.NewClients(account(t, api, system))
	if err != nil {
		t.Fatal(err)
	}
	core := clients.Typed.CoreV1()
	api.Secret(t, ns, "other", map[string]string{"password": "secret"})
	api.Secret(t, system, "other", map[string]string{"password": "secret"})
	tries := map[string]func() error{
		"list all Secrets": func() error {
			_, err := core.Secrets("").List(t.Context(), metav1.ListOptions{})
			return err
		},
		"read a Secret of a namespace": func() error {
			_, err := core.Secrets(ns).Get(t.Context(), "other", metav1.GetOptions{})
			return err
		},
		"read another Secret of its own": func() error {
			_, err := core.Secrets(system).Get(t.Context(), "other", metav1.GetOptions{})
			return err
		},
		"list all ConfigMaps": func() error {
			_, err := core.ConfigMaps("").List(t.Context(), metav1.ListOptions{})
			return err
		},
		"delete what it published": func() error {
			return core.ConfigMaps(ns).Delete(t.Context(), kube.CAConfigMap, metav1.DeleteOptions{})
		},
		"change an object": func() error {
			_, err := clients.Dynamic.Resource(v1alpha1.Ambassadors()).Namespace(ns).
				Patch(t.Context(), "cache", "application/merge-patch+json", []byte(`{"spec":{}}`), metav1.PatchOptions{})
			return err
		},
	}
	for name, try := range tries {
		if err := try(); !apierrors.IsForbidden(err) {
			t.Errorf("it may %s: %v", name, err)
		}
	}
}
