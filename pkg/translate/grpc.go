package translate

import (
	"strconv"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// ClusterDomain is the DNS suffix of nearly every Kubernetes cluster.
const ClusterDomain = "cluster.local"

// GRPCNames are the targets under which clients that speak xDS themselves, as
// gRPC's do (xds:///NAME), find a port of a Service, and so the names of its
// listeners: "name.namespace:port", with ".svc" and with ".svc." and the
// cluster's domain. Its route, cluster and endpoints are all named
// "namespace/name:port", which nothing of a mesh object is.
func GRPCNames(svc inventory.Key, port uint32, domain string) []string {
	host, suffix := svc.Name+"."+svc.Namespace, ":"+strconv.FormatUint(uint64(port), 10)
	return []string{host + suffix, host + ".svc" + suffix, host + ".svc." + domain + suffix}
}

// ParseGRPCName finds the Service and the port in one of GRPCNames, or in the
// name of their route, cluster and endpoints. It says nothing of whether there is
// such a Service.
func ParseGRPCName(name, domain string) (svc inventory.Key, port uint32, ok bool) {
	host, digits, ok := cutLast(name, ':')
	n, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil || n == 0 || digits[0] == '0' || digits[0] == '+' {
		return inventory.Key{}, 0, false
	}
	if namespace, service, found := strings.Cut(host, "/"); found {
		svc = inventory.Key{Namespace: namespace, Name: service}
		return svc, uint32(n), isServiceKey(svc)
	}
	for _, suffix := range []string{"", ".svc", ".svc." + domain} { // a namespace may be called svc
		if rest, found := strings.CutSuffix(host, suffix); found {
			svc.Name, svc.Namespace, _ = strings.Cut(rest, ".")
			if isServiceKey(svc) {
				return svc, uint32(n), true
			}
		}
	}
	return inventory.Key{}, 0, false
}

func isServiceKey(k inventory.Key) bool {
	return mesh.IsDNSLabel(k.Name) && mesh.IsDNSLabel(k.Namespace)
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

func grpcCluster(svc inventory.Key, port uint32) string {
	return svc.String() + ":" + strconv.FormatUint(uint64(port), 10)
}

// GRPCService gives the resources by which a client that speaks xDS itself calls
// a port of a Service without a proxy, in the forms that grpc-go takes (gRFC A27):
// a listener per name with an API listener, a route by RDS, a cluster and its
// endpoints by EDS, or by DNS for an ExternalName. Only Endpoints depend on the
// spot, and only as counts says. Whether a client may have them is not looked at.
//
// The error says that the Service has no such TCP port.
func GRPCService(svc *inventory.Service, port uint32, spot Spot, domain string) (set resource.Set, counts Counts, err error) {
	found, err := portOf(svc, port)
	if err != nil {
		return resource.Set{}, Counts{}, err
	}
	to := &target{Service: svc, number: port, port: found}
	name := grpcCluster(svc.Key, port)
	names := GRPCNames(svc.Key, port, domain)
	for _, n := range names {
		set.Listeners = append(set.Listeners, apiListener(n, name))
	}
	// "*" is for clients that choose their authority themselves.
	set.Routes = []*routev3.RouteConfiguration{routeTo(name, append(names, "*"))}
	c := &clusterv3.Cluster{Name: name, ConnectTimeout: durationpb.New(defaultConnectTimeout)}
	if svc.ExternalName != "" {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_LOGICAL_DNS}
		c.LoadAssignment = weighted(assignment(name, []member{{host: svc.ExternalName, port: port}}))
	} else {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
		c.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: aggregated(), ServiceName: name}
		var members []member
		members, counts = grpcMembers(to, spot)
		set.Endpoints = append(set.Endpoints, weighted(assignment(name, members)))
	}
	set.Clusters = []*clusterv3.Cluster{c}
	sortSet(&set)
	return set, counts, nil
}

// grpcMembers gives the endpoints that have an IP address. Those that are on
// their way out, where there are no others, are given as if they were well:
// gRPC would not call them otherwise, and others have nothing better either.
func grpcMembers(to *target, spot Spot) (members []member, counts Counts) {
	list, counts := near(to, usable(to.backends()), spot)
	seen := make(map[string]bool, len(list))
	for _, b := range list {
		m := member{host: b.Address, port: b.port, zone: b.Zone}
		if !m.isName() && !seen[m.address()] {
			seen[m.address()] = true
			members = append(members, m)
		}
	}
	return members, counts
}

func apiListener(name, route string) *listenerv3.Listener {
	manager := &hcmv3.HttpConnectionManager{
		StatPrefix: name,
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
			ConfigSource: aggregated(), RouteConfigName: route,
		}},
		HttpFilters: []*hcmv3.HttpFilter{{
			Name:       "envoy.filters.http.router",
			ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(&routerv3.Router{})},
		}},
	}
	return &listenerv3.Listener{Name: name, ApiListener: &listenerv3.ApiListener{ApiListener: pack(manager)}}
}

func routeTo(cluster string, domains []string) *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{
		Name: cluster,
		VirtualHosts: []*routev3.VirtualHost{{
			Name:    cluster,
			Domains: domains,
			Routes: []*routev3.Route{{
				Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: ""}},
				Action: &routev3.Route_Route{Route: &routev3.RouteAction{
					ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster},
				}},
			}},
		}},
	}
}
