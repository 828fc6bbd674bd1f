package client

import (
	"fmt"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// kind is a type of resource. The order is that in which types are asked for
// and looked at.
type kind uint8

const (
	clusters kind = iota
	endpoints
	listeners
	routes
	secrets
	extensions
	numKinds
)

// typeURL is the kind's name on the wire.
func (k kind) typeURL() string {
	return [numKinds]string{
		resource.ClusterType, resource.EndpointType, resource.ListenerType,
		resource.RouteType, resource.SecretType, resource.ExtensionType,
	}[k]
}

// label is the kind's name in metrics, that of its discovery service.
func (k kind) label() string {
	return [numKinds]string{"cds", "eds", "lds", "rds", "sds", "ecds"}[k]
}

// short is the last part of the type URL.
func (k kind) short() string { return shortType(k.typeURL()) }

func shortType(typeURL string) string { return typeURL[strings.LastIndexByte(typeURL, '.')+1:] }

// wildcard says that all resources of the kind are asked for, not some by name.
func (k kind) wildcard() bool { return k == clusters || k == listeners }

// kindOf finds a kind by its type URL.
func kindOf(typeURL string) (kind, bool) {
	for k := range numKinds {
		if k.typeURL() == typeURL {
			return k, true
		}
	}
	return 0, false
}

// key names one resource.
type key struct {
	kind kind
	name string
}

func (k key) String() string { return fmt.Sprintf("%s %q", k.kind.short(), k.name) }

// late is where refs has, behind the kinds, those of the secrets that may come
// later: what refers to them can run until then.
const late = numKinds

// refs are the names that a resource refers to, by kind.
type refs [numKinds + 1][]string

func (r refs) equal(other refs) bool {
	return slices.EqualFunc(r[:], other[:], slices.Equal[[]string])
}

func (r refs) empty() bool { return r.equal(refs{}) }

// parser opens and validates one resource, and says what it is called and what
// it refers to. The error is a resource.Errors, or of proto.Unmarshal.
type parser func(data []byte) (proto.Message, string, refs, error)

// parsers are those of pkg/xds/resource; what that has no parser for yet is
// taken as it comes, once it has a name.
func parsers() [numKinds]parser {
	return [numKinds]parser{
		clusters:   parseCluster,
		endpoints:  parseEndpoints,
		listeners:  parseListener,
		routes:     parseRoute,
		secrets:    parseSecret,
		extensions: parseExtension,
	}
}

func parseCluster(data []byte) (proto.Message, string, refs, error) {
	var p clusterv3.Cluster
	if err := proto.Unmarshal(data, &p); err != nil {
		return nil, "", refs{}, err
	}
	c, err := resource.ParseCluster(&p)
	if err != nil {
		return &p, p.GetName(), refs{}, err
	}
	found := referencesOf(&p)
	found[secrets] = without(c.SecretNames(), c.Secrets)
	found[late] = c.LateSecrets()
	if c.Discovery.Type == resource.DiscoverEDS {
		found[endpoints] = []string{c.Discovery.EDSServiceName}
	}
	return &p, p.GetName(), found, nil
}

func parseEndpoints(data []byte) (proto.Message, string, refs, error) {
	var p endpointv3.ClusterLoadAssignment
	if err := proto.Unmarshal(data, &p); err != nil {
		return nil, "", refs{}, err
	}
	_, err := resource.ParseAssignment(&p)
	return &p, p.GetClusterName(), refs{}, err
}

func parseListener(data []byte) (proto.Message, string, refs, error) {
	var p listenerv3.Listener
	if err := proto.Unmarshal(data, &p); err != nil {
		return nil, "", refs{}, err
	}
	l, err := resource.ParseListener(&p)
	if err != nil {
		return &p, p.GetName(), refs{}, err
	}
	found := referencesOf(&p)
	found[secrets] = without(l.SecretNames(), l.Secrets)
	found[late] = l.LateSecrets()
	if l.Filter.Config != nil {
		found[clusters] = l.Filter.Config.ClusterNames()
	}
	return &p, p.GetName(), found, nil
}

func parseSecret(data []byte) (proto.Message, string, refs, error) {
	var p tlsv3.Secret
	if err := proto.Unmarshal(data, &p); err != nil {
		return nil, "", refs{}, err
	}
	_, err := resource.ParseSecret(&p)
	return &p, p.GetName(), refs{}, err
}

func parseRoute(data []byte) (proto.Message, string, refs, error) {
	var p routev3.RouteConfiguration
	if err := proto.Unmarshal(data, &p); err != nil {
		return nil, "", refs{}, err
	}
	c, err := resource.ParseRoutes(&p)
	if err != nil {
		return &p, p.GetName(), refs{}, err
	}
	found := referencesOf(&p)
	found[clusters] = c.ClusterNames()
	return &p, p.GetName(), found, nil
}

func parseExtension(data []byte) (proto.Message, string, refs, error) {
	var p corev3.TypedExtensionConfig
	if err := proto.Unmarshal(data, &p); err != nil {
		return nil, "", refs{}, err
	}
	return &p, p.GetName(), referencesOf(&p), named(extensions, p.GetName())
}

func named(k kind, name string) error {
	if name == "" {
		return resource.Errors{{TypeURL: k.typeURL(), Path: "name", Reason: "is missing"}}
	}
	return nil
}

// without drops the names of secrets that the resource brings itself.
func without(names []string, inline []*resource.Secret) []string {
	own := make(map[string]bool, len(inline))
	for _, s := range inline {
		own[s.Name] = true
	}
	var out []string
	for _, name := range names {
		if !own[name] {
			out = append(out, name)
		}
	}
	return out
}
