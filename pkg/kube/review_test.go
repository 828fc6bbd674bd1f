package kube_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/client-go/rest"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube"
)

// counted counts the reviews that a configuration's clients ask for.
func counted(cfg *rest.Config) (*rest.Config, *atomic.Int32) {
	var reviews atomic.Int32
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/tokenreviews") {
				reviews.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	return cfg, &reviews
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// reviewing is a plane with a reviewer whose questions are counted.
func reviewing(t *testing.T, api *kubetest.Server) (*plane, *kube.Reviewer, *atomic.Int32) {
	t.Helper()
	system := install(t, api)
	cfg, reviews := counted(account(t, api, system))
	p := startPlane(t, cfg, system)
	p.await(t)
	return p, kube.NewReviewer(p.clients, p.store), reviews
}

// TestReview: a token says who its pod is, and is asked about once a minute,
// however many ask.
func TestReview(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	_, r, reviews := reviewing(t, api)
	ns := api.Namespace(t)
	pod := api.Pod(t, kubetest.PodSpec{Namespace: ns, Name: "web-0", ServiceAccount: "web"})
	token := api.Token(t, pod)
	want := inventory.Identity{Namespace: ns, ServiceAccount: "web", Pod: "web-0", PodUID: string(pod.UID)}
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			got, err := r.Review(t.Context(), token)
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(inventory.Identity{}, "Expires")); diff != "" || err != nil {
				t.Errorf("%v; identity (-want +got):\n%s", err, diff)
			}
			if left := time.Until(got.Expires); left < 50*time.Minute || left > 70*time.Minute {
				t.Errorf("expires in %v", left)
			}
		})
	}
	group.Wait()
	if n := reviews.Load(); n != 1 {
		t.Errorf("%d reviews for one token", n)
	}
}

// TestReviewRefuses: what is no proof of being a pod.
func TestReviewRefuses(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	_, r, reviews := reviewing(t, api)
	ns := api.Namespace(t)
	pod := api.Pod(t, kubetest.PodSpec{Namespace: ns, Name: "web-0"})
	tests := []struct {
		name, token, why string
		asked            int32
	}{
		{"nothing", "", "no token", 0},
		{"too long", strings.Repeat("x", 1<<20), "no token", 0},
		{"not a token", "open sesame", "does not take", 1},
		{"another audience", api.Token(t, pod, "vault"), "does not take", 1},
		{"expired", api.ExpiredToken(t, pod), "does not take", 1},
		{"bound to no pod", unbound(t, api, ns), "not bound to a pod", 1},
	}
	for _, tt := range tests {
		before := reviews.Load()
		for range 3 {
			_, err := r.Review(t.Context(), tt.token)
			if !errors.Is(err, inventory.ErrUnauthenticated) || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("%s: want a refusal that says %q, got %v", tt.name, tt.why, err)
			}
			if err != nil && tt.token != "" && strings.Contains(err.Error(), tt.token) {
				t.Errorf("%s: the error holds the token", tt.name)
			}
		}
		if asked := reviews.Load() - before; asked != tt.asked {
			t.Errorf("%s: %d reviews, want %d", tt.name, asked, tt.asked)
		}
	}
}

// unbound is a token of a service account alone, for the right audience.
func unbound(t *testing.T, api *kubetest.Server, ns string) string {
	t.Helper()
	return strings.TrimSpace(api.Kubectl(t, nil, "-n", ns, "create", "token", "default", "--audience", kube.Audience))
}

// TestReviewOfDeletedPod: a token ends with its pod, even while the answer is
// still known, and even when another pod has got the name.
func TestReviewOfDeletedPod(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	p, r, _ := reviewing(t, api)
	ns := api.Namespace(t)
	pod := api.Pod(t, kubetest.PodSpec{Namespace: ns, Name: "web-0"})
	token := api.Token(t, pod)
	if _, err := r.Review(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	refused := func() bool {
		_, err := r.Review(t.Context(), token)
		return errors.Is(err, inventory.ErrUnauthenticated)
	}
	api.DeletePod(t, pod)
	eventually(t, "refused without the pod", true, refused)
	again := api.Pod(t, kubetest.PodSpec{Namespace: ns, Name: "web-0"})
	eventually(t, "the new pod", true, func() bool {
		known := p.store.Pod(inventory.Key{Namespace: ns, Name: "web-0"})
		return known != nil && known.UID == string(again.UID)
	})
	if !refused() {
		t.Error("the token of a pod that was deleted is good for another of its name")
	}
	if got, err := r.Review(t.Context(), api.Token(t, again)); err != nil || got.PodUID != string(again.UID) {
		t.Errorf("the new pod's own token: %v, %v", got, err)
	}
}

// TestReviewWhileAway: while the API server is away, who was known is let in,
// and who was not gets an error that is no refusal.
func TestReviewWhileAway(t *testing.T) {
	t.Parallel()
	api := kubetest.Start(t)
	p, r, reviews := reviewing(t, api)
	ns := api.Namespace(t)
	pod := api.Pod(t, kubetest.PodSpec{Namespace: ns, Name: "web-0"})
	known, unknown := api.Token(t, pod), api.Token(t, pod)
	if _, err := r.Review(t.Context(), known); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod", true, func() bool { return p.store.Pod(inventory.Key{Namespace: ns, Name: "web-0"}) != nil })
	api.Stop()
	for range 3 {
		if _, err := r.Review(t.Context(), known); err != nil {
			t.Errorf("who was known: %v", err)
		}
		_, err := r.Review(t.Context(), unknown)
		if !errors.Is(err, kube.ErrUnavailable) || errors.Is(err, inventory.ErrUnauthenticated) {
			t.Errorf("who was not: %v", err)
		}
	}
	if n := reviews.Load(); n > 3 {
		t.Errorf("%d reviews: a server that is away is asked for everybody", n)
	}
	api.Restart(t)
	eventually(t, "after the return", true, func() bool {
		_, err := r.Review(t.Context(), unknown)
		return err == nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Review(ctx, known); err != nil {
		t.Errorf("an answer that is known needs nobody: %v", err)
	}
}

// TestReviewForgets: answers are believed for a minute, refusals for seconds, and
// neither beyond the token's end; without an API server for ten minutes.
func TestReviewForgets(t *testing.T) {
	t.Parallel()
	api := kubetest.Start(t)
	_, r, reviews := reviewing(t, api)
	var ahead atomic.Int64
	r.SetClock(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	ns := api.Namespace(t)
	pod := api.Pod(t, kubetest.PodSpec{Namespace: ns, Name: "web-0"})
	good, bad := api.Token(t, pod), api.Token(t, pod, "vault")
	review := func(token string) error {
		_, err := r.Review(t.Context(), token)
		return err
	}
	steps := []struct {
		at        time.Duration
		token     string
		reviews   int32 // so far
		refused   bool
		takenAway bool // the API server, before
		away      bool // nobody can say
	}{
		{0, good, 1, false, false, false},
		{0, bad, 2, true, false, false},
		{4 * time.Second, bad, 2, true, false, false},
		{6 * time.Second, bad, 3, true, false, false},
		{59 * time.Second, good, 3, false, false, false},
		{61 * time.Second, good, 4, false, false, false},
		{10 * time.Minute, good, 5, false, true, false},
		{10*time.Minute + 4*time.Second, good, 5, false, false, false},
		{10*time.Minute + 4*time.Second, bad, 5, false, false, true},
		{11*time.Minute + 2*time.Second, good, 6, false, false, true},
		{2 * time.Hour, good, 7, false, false, true},
	}
	for i, step := range steps {
		if step.takenAway {
			eventually(t, "the pod", nil, func() error { return review(good) })
			api.Stop()
		}
		ahead.Store(int64(step.at))
		err := review(step.token)
		if errors.Is(err, inventory.ErrUnauthenticated) != step.refused || errors.Is(err, kube.ErrUnavailable) != step.away || err != nil && !step.refused && !step.away {
			t.Errorf("step %d: %v", i, err)
		}
		if n := reviews.Load(); n != step.reviews {
			t.Errorf("step %d: %d reviews, want %d", i, n, step.reviews)
		}
	}
}

// TestReviewRemembersWithinBounds: whoever makes up tokens does not fill the
// memory.
func TestReviewRemembersWithinBounds(t *testing.T) {
	t.Parallel()
	r := kube.NewReviewer(&kube.Clients{}, inventory.NewStore())
	for range 200_000 {
		r.Remember(kube.RandomHash(), inventory.ErrUnauthenticated)
	}
	if n := r.Answers(); n > 1<<16 {
		t.Errorf("%d answers are remembered", n)
	}
	for range 70_000 {
		r.Remember(kube.RandomHash(), nil)
	}
	if n := r.Answers(); n > 1<<16 {
		t.Errorf("%d answers are remembered", n)
	}
}

// TestReviewOfFrozenServer: an API server that does not answer at all holds those
// up who were let in before for seconds at most, and not one after the other.
func TestReviewOfFrozenServer(t *testing.T) {
	t.Parallel()
	api := kubetest.Start(t)
	p, r, _ := reviewing(t, api)
	ns := api.Namespace(t)
	pod := api.Pod(t, kubetest.PodSpec{Namespace: ns, Name: "web-0"})
	tokens := []string{api.Token(t, pod), api.Token(t, pod), api.Token(t, pod)}
	for _, token := range tokens {
		if _, err := r.Review(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the pod", true, func() bool { return p.store.Pod(inventory.Key{Namespace: ns, Name: "web-0"}) != nil })
	r.SetClock(func() time.Time { return time.Now().Add(2 * time.Minute) })
	api.Pause()
	defer api.Resume()
	start := time.Now()
	for _, token := range tokens {
		if _, err := r.Review(t.Context(), token); err != nil {
			t.Error(err)
		}
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("three reviews took %v", d)
	}
}
