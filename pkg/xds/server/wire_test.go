package server

import (
	"math/rand/v2"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// asProto is what protobuf's own decoder makes of a request, in our terms.
func asProto(b []byte) (*deltaRequest, error) {
	m := &discoveryv3.DeltaDiscoveryRequest{}
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, err
	}
	r := &deltaRequest{
		node: m.GetNode(), typeURL: m.GetTypeUrl(), subscribe: m.GetResourceNamesSubscribe(), unsubscribe: m.GetResourceNamesUnsubscribe(),
		versions: m.GetInitialResourceVersions(), nonce: m.GetResponseNonce(), failure: m.GetErrorDetail(),
	}
	return r, nil
}

func equal(a, b *deltaRequest) string {
	return cmp.Diff(a, b, cmp.AllowUnexported(deltaRequest{}), cmpopts.IgnoreFields(deltaRequest{}, "maxNames", "names", "longest"),
		cmpopts.EquateEmpty(), protocmp.Transform())
}

// FuzzDecodeRequest checks that our decoder reads what protobuf's does, and
// refuses what that refuses.
func FuzzDecodeRequest(f *testing.F) {
	for _, m := range []*discoveryv3.DeltaDiscoveryRequest{
		{},
		{TypeUrl: ClusterType, Node: &corev3.Node{Id: "n"}, ResourceNamesSubscribe: []string{"*", "a"}, ResourceNamesUnsubscribe: []string{"b", ""}},
		{ResponseNonce: "7", ErrorDetail: &rpcstatus.Status{Code: 3, Message: "no"}},
		{InitialResourceVersions: map[string]string{"a": "1", "": "2", "c": ""}},
		{ResourceLocatorsSubscribe: []*discoveryv3.ResourceLocator{{Name: "x"}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		want, err := asProto(b)
		got := &deltaRequest{maxNames: 1 << 20}
		gotErr := got.decode(b)
		if err != nil {
			return // ours passes over fields that it has no use for
		}
		if gotErr != nil {
			t.Fatalf("refused: %v", gotErr)
		}
		if diff := equal(want, got); diff != "" {
			t.Errorf("-protobuf +ours\n%s", diff)
		}
	})
}

func TestDecodeRequestCountsBeyondTheLimit(t *testing.T) {
	t.Parallel()
	m := &discoveryv3.DeltaDiscoveryRequest{InitialResourceVersions: map[string]string{}}
	for i := range 50 {
		name := strings.Repeat("x", i)
		m.ResourceNamesSubscribe = append(m.ResourceNamesSubscribe, name)
		m.ResourceNamesUnsubscribe = append(m.ResourceNamesUnsubscribe, name)
		m.InitialResourceVersions[name] = "1"
	}
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	r := &deltaRequest{maxNames: 20}
	if err := r.decode(b); err != nil {
		t.Fatal(err)
	}
	if kept := len(r.subscribe) + len(r.unsubscribe) + len(r.versions); kept != 20 || r.names != 150 || r.longest != 49 {
		t.Errorf("%d names were kept and %d counted, the longest of %d bytes; want 20, 150 and 49", kept, r.names, r.longest)
	}
}

func TestDecodeRequestRefuses(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{
		"a truncated name":         {0x1a, 5, 'a'},
		"a length beyond all":      {0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"a name that is not UTF-8": {0x1a, 1, 0xff},
		"a version without end":    {0x2a, 3, 0x0a, 9, 'a'},
		"a broken node":            {0x0a, 1, 0x0a},
		"a broken error":           {0x3a, 1, 0x12},
		"a broken tag":             {0xff},
		"a broken number":          {0x50, 0xff},
	} {
		r := &deltaRequest{maxNames: 10}
		if err := r.decode(b); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestNewResource checks the encoding and the version.
func TestNewResource(t *testing.T) {
	t.Parallel()
	node := &corev3.Node{Id: "x", Cluster: strings.Repeat("c", 1+rand.IntN(300))}
	a, err := NewResource(ClusterType, "name", node)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewResource(ClusterType, "other", proto.Clone(node))
	if err != nil {
		t.Fatal(err)
	}
	if a.Version() != b.Version() || a.Version() == "" {
		t.Errorf("the same content has versions %q and %q", a.Version(), b.Version())
	}
	m := &discoveryv3.DeltaDiscoveryResponse{}
	if err := proto.Unmarshal(a.frame, m); err != nil {
		t.Fatal(err)
	}
	got := m.GetResources()[0]
	back := &corev3.Node{}
	if err := proto.Unmarshal(got.GetResource().GetValue(), back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(node, back, protocmp.Transform()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if got.GetName() != "name" || got.GetVersion() != a.Version() || got.GetResource().GetTypeUrl() != ClusterType || a.Size() != proto.Size(node) {
		t.Errorf("encoded as %v", got)
	}
	for name, tt := range map[string]struct{ typeURL, name string }{
		"no type": {"", "a"}, "no name": {ClusterType, ""}, "a long name": {ClusterType, strings.Repeat("n", maxNameBytes+1)},
		"a long type": {strings.Repeat("t", maxTypeBytes+1), "a"},
	} {
		if _, err := NewResource(tt.typeURL, tt.name, node); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := NewResource(ClusterType, "big", &corev3.Node{Id: strings.Repeat("x", maxResourceBytes)}); err == nil {
		t.Error("a resource that no client takes is taken")
	}
}
