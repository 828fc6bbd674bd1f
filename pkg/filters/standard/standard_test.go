package standard_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/standard"
)

type config struct{}

type builder struct {
	built   int
	drained error
}

func (b *builder) Build(any, filters.Context) (filters.Network, error) {
	b.built++
	return nil, nil
}
func (b *builder) Describe(chan<- *prometheus.Desc) {}
func (b *builder) Collect(chan<- prometheus.Metric) {}
func (b *builder) Drain(context.Context) error      { return b.drained }

func TestRegistry(t *testing.T) {
	t.Parallel()
	b := &builder{drained: errors.New("not drained")}
	r := standard.NewRegistry()
	r.Register((*config)(nil), b)
	if _, err := r.Build(&config{}, filters.Context{}); err != nil || b.built != 1 {
		t.Errorf("built %d times, %v", b.built, err)
	}
	if _, err := r.Build("text", filters.Context{Listener: "l"}); !errors.Is(err, standard.ErrUnknownFilter) {
		t.Errorf("a configuration of an unknown type: %v", err)
	}
	if err := r.Drain(t.Context()); !errors.Is(err, b.drained) {
		t.Errorf("Drain: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a second filter for the same type is taken")
		}
	}()
	r.Register((*config)(nil), b)
}

// TestFilters has all built-in filters export their metrics side by side.
func TestFilters(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	list := standard.Filters(slog.New(slog.DiscardHandler)).Builders()
	if len(list) < 2 {
		t.Errorf("%d filters", len(list))
	}
	for _, b := range list {
		registry.MustRegister(b)
	}
	if _, err := registry.Gather(); err != nil {
		t.Error(err)
	}
}
