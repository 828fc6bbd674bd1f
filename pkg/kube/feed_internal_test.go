package kube

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// TestFeedAfterAnAbsence: a list that replaces what was known says what is new
// and what is gone, whether the reflector converted it before or not.
func TestFeedAfterAnAbsence(t *testing.T) {
	t.Parallel()
	var told []string
	h := newHealth("pods", slog.New(slog.DiscardHandler))
	f := newFeed(h, &corev1.Pod{}, PodOf, func(k inventory.Key, p *inventory.Pod, _ time.Time) {
		told = append(told, fmt.Sprintf("%s %v", k, p != nil))
	})
	f.known = make(map[inventory.Key]struct{})
	pod := func(name string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	}
	converted, err := f.Transformer()(pod("c"))
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name string
		do   func() error
		want []string
	}{
		{"the start", func() error { return f.Replace([]any{pod("a"), pod("b")}, "1") }, []string{"shop/a true", "shop/b true"}},
		{"an event", func() error { return f.Delete(pod("a")) }, []string{"shop/a false"}},
		{"after an absence", func() error { return f.Replace([]any{converted}, "9") }, []string{"shop/b false", "shop/c true"}},
		{"nothing is left", func() error { return f.Replace(nil, "12") }, []string{"shop/c false"}},
	}
	for _, step := range steps {
		told = nil
		err := step.do()
		slices.Sort(told)
		if diff := cmp.Diff(step.want, told); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", step.name, err, diff)
		}
	}
	if err := f.Add(&corev1.Secret{}); err == nil {
		t.Error("a Secret among the pods is taken")
	}
}

// TestHealthTellsChanges: an error is told when it is another than before, and
// its end once.
func TestHealthTellsChanges(t *testing.T) {
	t.Parallel()
	var told []string
	h := newHealth("pods", slog.New(slog.DiscardHandler))
	h.told = func(err error) { told = append(told, fmt.Sprint(err)) }
	for _, err := range []error{nil, errors.New("a"), errors.New("a"), errors.New("b"), nil, nil} {
		h.note(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "<nil>"}, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}
