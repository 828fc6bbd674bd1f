package client_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*client.Options)
		want   string
	}{
		"no server":      {func(o *client.Options) { o.Servers = nil }, "no control plane is named"},
		"no credentials": {func(o *client.Options) { o.Credentials = nil }, "no credentials"},
		"no node":        {func(o *client.Options) { o.Node = nil }, "no id"},
		"no name":        {func(o *client.Options) { o.Node = &corev3.Node{} }, "no id"},
		"no consumer":    {func(o *client.Options) { o.Consumer = nil }, "nobody takes"},
		"odd mode":       {func(o *client.Options) { o.Mode = 9 }, "unknown mode 9"},
		"all there":      {func(*client.Options) {}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t, newConsumer(), "127.0.0.1:1")
			tt.change(&o)
			_, err := client.New(o)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestParseMode(t *testing.T) {
	t.Parallel()
	for _, m := range []client.Mode{client.Auto, client.Delta, client.SotW} {
		if got, err := client.ParseMode(m.String()); err != nil || got != m {
			t.Errorf("%s: got %s, %v", m, got, err)
		}
	}
	if _, err := client.ParseMode("rest"); err == nil {
		t.Error("rest is taken for a protocol")
	}
}

// TestMetrics reads what a scrape sees after good and bad news, and after the
// control plane has gone.
func TestMetrics(t *testing.T) {
	t.Parallel()
	f := newForeign(false)
	address, stop := serve(t, f.register)
	proxy := newConsumer()
	c, _ := start(t, options(t, proxy, address))
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	f.set(t, listener("l1", 1001, "c1"), edsCluster("c1"), assignment("c1", "10.0.0.1"))
	proxy.runs(t, "l1:c1:10.0.0.1")
	f.set(t, listener("l1", 1001, "c1"), edsCluster("c1"), assignment("c1", "10.0.0.1"), badCluster("c2"))

	await(t, registry, "dragoman_xds_nacks_total{cds}", 1)
	await(t, registry, "dragoman_xds_connected{}", 1)
	await(t, registry, "dragoman_xds_from_disk{}", 0)
	await(t, registry, "dragoman_xds_resources{lds}", 1)
	await(t, registry, "dragoman_xds_resources{eds}", 1)
	await(t, registry, "dragoman_xds_acks_total{lds}", 1)
	await(t, registry, "dragoman_xds_responses_total{cds}", 2)
	await(t, registry, "dragoman_xds_applies_total{}", 1)
	await(t, registry, "dragoman_xds_disconnects_total{}", 0)
	stop()
	await(t, registry, "dragoman_xds_connected{}", 0)
	await(t, registry, "dragoman_xds_disconnects_total{}", 1)
	if age := time.Since(time.Unix(0, int64(1e9*gather(t, registry)["dragoman_xds_last_contact_timestamp_seconds{}"]))); age < 0 || age > time.Minute {
		t.Errorf("the last contact was %s ago", age)
	}
}

// await waits for the value of a metric.
func await(t *testing.T, g prometheus.Gatherer, name string, want float64) {
	t.Helper()
	var got map[string]float64
	eventually(t, func() bool {
		got = gather(t, g)
		value, ok := got[name]
		return ok && value == want
	}, func() string { return name + " is not as it should be" })
}

// gather gives values by "name{label value}".
func gather(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			out[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out
}

// TestRetry binds, so to speak, what could not be bound before.
// consumerFunc is a client.Consumer.
type consumerFunc func(ctx context.Context, u client.Update) error

func (f consumerFunc) Apply(ctx context.Context, u client.Update) error { return f(ctx, u) }

func TestRetry(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, (&ads{delta: simple}).register)
	free := make(chan struct{})
	inner := newConsumer()
	proxy := consumerFunc(func(ctx context.Context, u client.Update) error {
		select {
		case <-free:
		default:
			for _, l := range u.Set.Listeners {
				return &resource.Error{TypeURL: resource.ListenerType, Name: l.GetName(), Path: "address", Reason: "is in use"}
			}
		}
		return inner.Apply(ctx, u)
	})
	c, _ := start(t, options(t, proxy, address))
	inner.runs(t)
	eventually(t, func() bool { return len(c.Status().Nacks) == 1 }, func() string { return "no NACK" })
	close(free)
	c.Retry()
	inner.runs(t, "l1:c1:10.0.0.1")
}
