package client

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestReferences finds names wherever they stand, without knowing the filters.
func TestReferences(t *testing.T) {
	t.Parallel()
	const ads = `{"ads": {}}`
	var l listenerv3.Listener
	if err := protojson.Unmarshal([]byte(`{"name": "l", "filter_chains": [
	  {"filters": [
	    {"name": "x2", "config_discovery": {"config_source": `+ads+`, "type_urls": ["a"]}},
	    {"name": "http", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
	      "rds": {"route_config_name": "r1", "config_source": `+ads+`},
	      "http_filters": [{"name": "x1", "config_discovery": {"config_source": `+ads+`, "type_urls": ["a"]}}, {"name": "plain"}]}}],
	   "transport_socket": {"name": "tls", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
	     "common_tls_context": {"tls_certificate_sds_secret_configs": [{"name": "s1", "sds_config": `+ads+`}, {"name": "of the bootstrap"}],
	       "combined_validation_context": {"default_validation_context": {}, "validation_context_sds_secret_config": {"name": "s2", "sds_config": `+ads+`}}}}}}]}`), &l); err != nil {
		t.Fatal(err)
	}
	got := referencesOf(&l)
	want := refs{routes: {"r1"}, extensions: {"x1", "x2"}, secrets: {"s1", "s2"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
}

// TestServersInTurn follows which server is tried when, and after what pause.
func TestServersInTurn(t *testing.T) {
	t.Parallel()
	const none = 0
	c := connector{opts: &Options{Servers: []string{"a", "b", "c"}, BackoffBase: 100 * time.Millisecond, BackoffMax: 400 * time.Millisecond}}
	steps := []struct {
		good   bool
		lasted time.Duration
		want   int           // next server
		around time.Duration // of the pause
	}{
		{false, 0, 1, none},
		{false, 0, 2, none},
		{false, 0, 0, 100 * time.Millisecond}, // all have failed
		{false, 0, 1, none},
		{false, 0, 2, none},
		{false, 0, 0, 200 * time.Millisecond},
		{false, 0, 1, none},
		{true, time.Hour, 1, 100 * time.Millisecond}, // it was good: it is tried again
		{true, 0, 1, 200 * time.Millisecond},         // but with patience, if it ends at once
		{true, 0, 1, 400 * time.Millisecond},
		{true, 0, 1, 400 * time.Millisecond},
		{true, time.Hour, 1, 100 * time.Millisecond},
		{false, 0, 2, none}, // it is gone
		{false, 0, 0, none},
		{false, 0, 1, 100 * time.Millisecond},
	}
	for i, s := range steps {
		pause := c.after(s.good, s.lasted)
		if c.current != s.want || pause < s.around/2 || pause > s.around*3/2 {
			t.Errorf("step %d: server %d after %s, want %d after about %s", i, c.current, pause, s.want, s.around)
		}
	}
}

// TestPausesAreSpread: of a hundred proxies whose control plane ends at the same moment, no tenth of the time in which they come back has many more
// than its share, be it the first time or after all control planes have failed.
func TestPausesAreSpread(t *testing.T) {
	t.Parallel()
	const (
		proxies = 100
		parts   = 10
		most    = 3 * proxies / parts // so many or more by chance: once in a hundred million times
	)
	for name, test := range map[string]struct {
		failures int
		around   time.Duration
	}{
		"a stream has ended":     {0, DefaultBackoffBase},
		"all have failed":        {2, DefaultBackoffBase},
		"all have failed again":  {4, 2 * DefaultBackoffBase},
		"they are gone for long": {40, DefaultBackoffMax},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var come [parts]int
			for range proxies {
				c := connector{opts: &Options{Servers: []string{"a", "b"}, BackoffBase: DefaultBackoffBase, BackoffMax: DefaultBackoffMax}}
				pause := c.after(test.failures == 0, time.Hour)
				for range test.failures - 1 {
					pause = c.after(false, 0)
				}
				if pause < test.around/2 || pause > test.around*3/2 {
					t.Fatalf("a pause of %s, want one around %s", pause, test.around)
				}
				come[min(int((pause-test.around/2)*parts/test.around), parts-1)]++
			}
			for part, n := range come {
				if n > most {
					t.Errorf("%d of %d come in part %d of %d: %v", n, proxies, part+1, parts, come)
				}
			}
		})
	}
}

// TestNackIsBounded has a reason without end, in bytes that are no text.
func TestNackIsBounded(t *testing.T) {
	t.Parallel()
	var errs resource.Errors
	for range 1000 {
		errs = append(errs, &resource.Error{
			TypeURL: resource.ClusterType, Name: strings.Repeat("n\xff", 1000), Path: "p", Reason: strings.Repeat("ä\xff\n", 10_000),
		})
	}
	status := nackStatus(errs)
	if n := len(status.GetMessage()); n > 8<<10 || !utf8.ValidString(status.GetMessage()) {
		t.Errorf("the message has %d bytes, valid UTF-8: %t", n, utf8.ValidString(status.GetMessage()))
	}
	if n := len(status.GetDetails()); n == 0 || n > maxNackErrors {
		t.Errorf("there are %d details", n)
	}
	if !strings.HasSuffix(status.GetMessage(), "more") {
		t.Errorf("it does not say that there is more: %q", status.GetMessage()[len(status.GetMessage())-20:])
	}
}
