package translate

import (
	"cmp"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	metricsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/metrics/v1"
	optionsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/listener/v1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// metricsDefaultAddress is where metrics are shown in a cluster: Prometheus asks
// from outside of the pod.
const metricsDefaultAddress = "0.0.0.0"

// ListenerOf is the name of the listener of an object. An Adapter may have the
// name of an Ambassador.
func ListenerOf(obj mesh.Object) string {
	if mesh.KindOf(obj) == mesh.KindAdapter {
		return obj.Key() + "/adapter"
	}
	return obj.Key()
}

// adapterObject is Object for an Adapter, which is the same in all environments.
func adapterObject(a *mesh.Adapter, spot Spot, world World, others ambassadors) Output {
	name := conditionName(a)
	accepted := Condition{Object: name, Type: Accepted, Status: true, Reason: ReasonAccepted}
	t := &translator{meta: &a.Metadata, protocol: mesh.ProtocolHTTP, world: world, others: others, spot: spot, secrets: make(map[string]bool)}
	switch {
	case a.Spec.API != nil:
		t.apiListener(a)
	case a.Spec.Logs != nil:
		t.logsListener(a)
	default:
		t.metricsListener(a)
	}
	out := Output{Conditions: []Condition{accepted, t.condition(name)}, Counts: t.counts}
	if t.reason == "" {
		sortSet(&t.set)
		out.Set = t.set
	}
	return out
}

// conditionName is what a condition calls an object.
func conditionName(obj mesh.Object) string {
	if mesh.KindOf(obj) == mesh.KindAdapter {
		return mesh.KindAdapter + " " + obj.Key()
	}
	return obj.Key()
}

func (t *translator) metricsListener(a *mesh.Adapter) {
	m := a.Spec.Metrics
	statPrefix := a.Metadata.Namespace + "." + a.Metadata.Name
	address := cmp.Or(m.Listen.Address, defaultListenAddress)
	if t.world != nil {
		address = cmp.Or(m.Listen.Address, metricsDefaultAddress)
	}
	manager := &hcmv3.HttpConnectionManager{
		StatPrefix:                 statPrefix,
		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH,
		GenerateRequestId:          wrapperspb.Bool(false),
		// The filter answers itself: there is nowhere to lead requests to.
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{Name: ListenerOf(a)}},
		HttpFilters: []*hcmv3.HttpFilter{{
			Name:       "dragoman.filters.http.metrics",
			ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(t.metricsFilter(m, ListenerOf(a)))},
		}},
	}
	t.set.Listeners = append(t.set.Listeners, &listenerv3.Listener{
		Name:         ListenerOf(a),
		Address:      socketAddress(address, m.Listen.Port),
		StatPrefix:   statPrefix,
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{filter("envoy.filters.network.http_connection_manager", manager)}}},
		Metadata: &corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{
			resource.ListenerMetadata: pack(&optionsv1.ListenerOptions{DrainDeadline: duration(nil, defaultDrainDeadline)}),
		}},
		TrafficDirection: corev3.TrafficDirection_INBOUND,
	})
}

func (t *translator) metricsFilter(m *mesh.MetricsAdapter, name string) *metricsv1.Metrics {
	l := orEmpty(m.Limits)
	p := &metricsv1.Metrics{
		Path:            m.Listen.Path,
		Rules:           metricsRules(m.Rules),
		Relabel:         relabelings(m.Relabel),
		SeriesPerSource: optional(l.SeriesPerSource),
		MinInterval:     lasting(l.MinInterval),
		ExcludeProxy:    m.ProxyMetrics == mesh.ProxyMetricsExclude,
	}
	if l.BytesPerSource != nil {
		p.BytesPerSource = wrapperspb.UInt64(uint64(*l.BytesPerSource))
	}
	for i := range m.Sources {
		s := &m.Sources[i]
		source := &metricsv1.Source{
			Name: s.Name, Prefix: s.Prefix, Labels: s.Labels, Rules: metricsRules(s.Rules), Relabel: relabelings(s.Relabel),
		}
		t.metricsKind(s, source, name+"/"+s.Name)
		p.Sources = append(p.Sources, source)
	}
	return p
}
