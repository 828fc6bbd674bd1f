package diskset_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/redis_proxy/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dragoman-mesh/dragoman/pkg/xds/client/diskset"
)

func sample(t testing.TB, n int) *diskset.Set {
	t.Helper()
	s := &diskset.Set{Node: "web-0.shop", Server: "cp:15010", Saved: time.Unix(1_700_000_000, 0).UTC()}
	for i := range n {
		body, err := anypb.New(&clusterv3.Cluster{Name: fmt.Sprint("c", i), AltStatName: strings.Repeat("x", 1000)})
		if err != nil {
			t.Fatal(err)
		}
		s.Resources = append(s.Resources, diskset.Resource{Name: fmt.Sprint("c", i), Version: fmt.Sprint(i), Body: body})
	}
	return s
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 100} {
		file := diskset.File{Path: filepath.Join(t.TempDir(), "set"), Max: 1 << 20}
		want := sample(t, n)
		if err := file.Write(want); err != nil {
			t.Fatal(err)
		}
		got, err := file.Read()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%d resources (-want +got):\n%s", n, diff)
		}
	}
}

// TestEveryTruncation cuts the file at each byte: never is half of it taken for
// the whole.
func TestEveryTruncation(t *testing.T) {
	t.Parallel()
	whole, err := diskset.Append(nil, sample(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, err := diskset.Parse(whole[:n]); !errors.Is(err, diskset.ErrFormat) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(whole), err)
		}
	}
}

// TestWriteIsAtomic reads while another writes: each read sees one whole set.
func TestWriteIsAtomic(t *testing.T) {
	t.Parallel()
	file := diskset.File{Path: filepath.Join(t.TempDir(), "set"), Max: 1 << 20}
	if err := file.Write(sample(t, 1)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for n := 1; ; n = n%50 + 1 {
			select {
			case <-stop:
				return
			default:
			}
			if err := file.Write(sample(t, n)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 300 {
		if _, err := file.Read(); err != nil {
			t.Errorf("a reader sees %v", err)
			break
		}
	}
	close(stop)
	writer.Wait()
	entries, err := os.ReadDir(filepath.Dir(file.Path))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the file lies more: %v, %v", entries, err)
	}
}

// TestFailedWrite leaves the old set.
func TestFailedWrite(t *testing.T) {
	t.Parallel()
	file := diskset.File{Path: filepath.Join(t.TempDir(), "set"), Max: 5000}
	if err := file.Write(sample(t, 1)); err != nil {
		t.Fatal(err)
	}
	if err := file.Write(sample(t, 10)); err == nil || !strings.Contains(err.Error(), "more than the 5000") {
		t.Errorf("a set that could not be read again: %v", err)
	}
	got, err := file.Read()
	if err != nil || len(got.Resources) != 1 {
		t.Errorf("the old set: %v, %v", got, err)
	}
}

// TestTidy removes what a crash has left.
func TestTidy(t *testing.T) {
	t.Parallel()
	file := diskset.File{Path: filepath.Join(t.TempDir(), "set"), Max: 1 << 20}
	left := filepath.Join(filepath.Dir(file.Path), ".set-123.tmp")
	if err := os.WriteFile(left, []byte("half a s"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := file.Tidy(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// TestNoFile tells a file that is not there from one that is of no use.
func TestNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	absent := diskset.File{Path: filepath.Join(dir, "set"), Max: 1}
	if _, err := absent.Read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	folder := diskset.File{Path: dir, Max: 1}
	if _, err := folder.Read(); !errors.Is(err, diskset.ErrFormat) {
		t.Errorf("a folder: %v", err)
	}
}

func TestSensitive(t *testing.T) {
	t.Parallel()
	const redis = `"typed_extension_protocol_options": {"redis": {"@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions", `
	const tls = `"transport_socket": {"name": "tls", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context": `
	tests := []struct{ name, cluster, want string }{
		{"plain", `{"name": "c"}`, ""},
		{"a password", `{` + redis + `"auth_password": {"inline_string": "x"}}}}`, `typed_extension_protocol_options["redis"].auth_password`},
		{"the file of one", `{` + redis + `"auth_password": {"filename": "/x"}}}}`, ""},
		{"the variable of one", `{` + redis + `"auth_password": {"environment_variable": "X"}}}}`, ""},
		{"an empty one", `{` + redis + `"auth_password": {"inline_string": ""}}}}`, ""},
		{"a private key", `{` + tls + `{"tls_certificates": [{"private_key": {"inline_bytes": "eA=="}}]}}}}`, "transport_socket.typed_config.common_tls_context.tls_certificates[0].private_key"},
		{"the file of one", `{` + tls + `{"tls_certificates": [{"certificate_chain": {"inline_string": "x"}, "private_key": {"filename": "/x"}}]}}}}`, ""},
		{"whom to trust", `{` + tls + `{"validation_context": {"trusted_ca": {"inline_string": "x"}}}}}}`, ""},
		{"the name of a secret", `{` + tls + `{"tls_certificate_sds_secret_configs": [{"name": "s"}]}}}}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var c clusterv3.Cluster
			if err := protojson.Unmarshal([]byte(tt.cluster), &c); err != nil {
				t.Fatal(err)
			}
			if got := diskset.Sensitive(&c); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	unknown := &listenerv3.Listener{FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: &anypb.Any{TypeUrl: "type.googleapis.com/unheard.of"}},
	}}}}}
	if got, want := diskset.Sensitive(unknown), "filter_chains[0].filters[0].typed_config"; got != want {
		t.Errorf("what cannot be looked into: got %q, want %q", got, want)
	}
}

// FuzzParse looks for files that make Parse panic or that are not the same once
// written again.
func FuzzParse(f *testing.F) {
	for _, n := range []int{0, 1, 3} {
		whole, err := diskset.Append(nil, sample(f, n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(whole)
	}
	f.Add([]byte("dragoman-xds-set\n{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := diskset.Parse(data)
		if err != nil {
			if !errors.Is(err, diskset.ErrFormat) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		again, err := diskset.Append(nil, s)
		if err != nil {
			return // as a name that is not UTF-8, which a header of JSON cannot have
		}
		got, err := diskset.Parse(again)
		if err != nil {
			t.Fatalf("accepted once, then: %v", err)
		}
		if diff := cmp.Diff(s.Resources, got.Resources, protocmp.Transform()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzBody reaches behind the checksum, which random bytes never pass.
func FuzzBody(f *testing.F) {
	body, err := proto.Marshal(&clusterv3.Cluster{Name: "c"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("c", "1", "type.googleapis.com/envoy.config.cluster.v3.Cluster", body)
	f.Fuzz(func(t *testing.T, name, version, typeURL string, body []byte) {
		want := &diskset.Set{Resources: []diskset.Resource{{Name: name, Version: version, Body: &anypb.Any{TypeUrl: typeURL, Value: body}}}}
		data, err := diskset.Append(nil, want)
		if err != nil {
			return
		}
		got, err := diskset.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Resources, got.Resources, protocmp.Transform()); diff != "" {
			t.Fatal(diff)
		}
	})
}
