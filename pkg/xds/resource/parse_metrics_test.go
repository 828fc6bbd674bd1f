package resource

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	metricsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/metrics/v1"
	"github.com/dragoman-mesh/dragoman/pkg/statsdproto"
)

// TestStatsDSource: absent fields are the defaults, and one that is wrong is named
// by its path.
func TestStatsDSource(t *testing.T) {
	t.Parallel()
	r := &reader{}
	got := r.statsd(&metricsv1.StatsD{
		Listen: &metricsv1.Listen{Udp: 9125, Unixgram: "/run/s", UnixgramMode: 0o660}, Relay: &metricsv1.StatsD_Relay{Address: "statsd:8125"}, Dialects: []metricsv1.StatsD_Dialect{metricsv1.StatsD_DOGSTATSD, metricsv1.StatsD_SIGNALFX},
		MaxConnections: 7, IdleTimeout: durationpb.New(time.Minute),
	}, "statsd")
	want := &StatsDSource{
		MetricsListen: MetricsListen{UDP: "127.0.0.1:9125", Unixgram: "/run/s", UnixgramMode: 0o660, ReadBuffer: DefaultReadBuffer},
		Styles:        statsdproto.Datadog | statsdproto.SignalFX, MaxConnections: 7, IdleTimeout: time.Minute,
		Relay: "statsd:8125", RelayPacket: DefaultRelayPacket,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := (&reader{}).statsd(&metricsv1.StatsD{Listen: &metricsv1.Listen{Udp: 1, ReadBuffer: wrapperspb.UInt64(0)}}, ""); got.ReadBuffer != 0 || got.Styles != 0 {
		t.Errorf("as the system has it: %+v", got)
	}
	bad := &reader{}
	bad.statsd(&metricsv1.StatsD{
		Listen: &metricsv1.Listen{Udp: 1, ReadBuffer: wrapperspb.UInt64(1<<30 + 1), Unixgram: "@s", UnixgramMode: 0o660},
		Relay:  &metricsv1.StatsD_Relay{Address: "statsd", PacketLength: 70_000}, Dialects: []metricsv1.StatsD_Dialect{0, 9},
		MaxConnections: 100_001, IdleTimeout: durationpb.New(-1),
	}, "statsd")
	said := ""
	for _, e := range bad.errs {
		said += e.Error() + "\n"
	}
	for _, want := range []string{"statsd.listen.read_buffer", "statsd.listen.unixgram_mode", "statsd.relay.address", "statsd.relay.packet_length", "statsd.dialects[0]", "statsd.dialects[1]", "statsd.max_connections", "statsd.idle_timeout"} {
		if !strings.Contains(said, want) {
			t.Errorf("nothing of %s in\n%s", want, said)
		}
	}
}
