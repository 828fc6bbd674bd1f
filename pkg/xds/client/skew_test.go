package client_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
)

// TestNewerControlPlane sends what a version to come may have. Fields that are not known
// are ignored and counted; a filter that is not known costs its own listener alone, and
// the reason goes back.
func TestNewerControlPlane(t *testing.T) {
	t.Parallel()
	for _, mode := range []client.Mode{client.Delta, client.SotW} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			future := protowire.AppendString(protowire.AppendTag(nil, 5000, protowire.BytesType), "of tomorrow")
			cluster := staticCluster("c1", "10.0.0.1")
			cluster.ProtoReflect().SetUnknown(future)
			inside := listener("l1", 1001, "c1")
			inside.FilterChains[0].Filters[0].GetTypedConfig().Value = append(inside.FilterChains[0].Filters[0].GetTypedConfig().Value, future...)
			unknown := listener("l2", 1002, "c1")
			unknown.FilterChains[0].Filters[0].GetTypedConfig().TypeUrl = "type.googleapis.com/dragoman.filters.tomorrow.v1.Tomorrow"

			o := newOwn(t)
			address, _ := o.serve("127.0.0.1:0")
			o.set(cluster, inside, unknown)
			proxy := newConsumer()
			opts := options(t, proxy, address)
			opts.Mode = mode
			var log lockedLog
			opts.Log = slog.New(slog.NewTextHandler(&log, nil))
			c, _ := start(t, opts)
			proxy.runs(t, "l1:c1:10.0.0.1")
			eventually(t, func() bool {
				return strings.Contains(o.refusals(), `Listener "l2"`) && strings.Contains(o.refusals(), "tomorrow")
			},
				func() string { return "NACKs: " + o.refusals() })
			if strings.Contains(o.refusals(), `"l1"`) || strings.Contains(o.refusals(), `"c1"`) {
				t.Errorf("NACKs: %s", o.refusals())
			}
			if err := errors.Join(counts(c, "cds", 1), counts(c, "lds", 1)); err != nil {
				t.Error(err)
			}
			// What is known is worked with, as long as it is sent: a change of it runs.
			cluster = staticCluster("c1", "10.0.0.2")
			cluster.ProtoReflect().SetUnknown(future)
			o.set(cluster, inside, unknown)
			proxy.runs(t, "l1:c1:10.0.0.2")
			if err := counts(c, "cds", 2); err != nil {
				t.Error(err)
			}
			if n := log.count("are ignored"); n != 2 {
				t.Errorf("the log speaks of fields %d times, want once of the cluster's and once of the filter's", n)
			}
		})
	}
}

// lockedLog is a log to read.
type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

// counts holds the metric of resources with unknown fields against what it should be.
func counts(c *client.Client, kind string, want float64) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "dragoman_xds_unknown_fields_total" && m.GetLabel()[0].GetValue() == kind && m.GetCounter().GetValue() == want {
				return nil
			}
		}
	}
	return fmt.Errorf("no %s with unknown fields is counted as %v in %v", kind, want, families)
}
