package translate

import (
	"cmp"
	"net"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	logsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/logs/v1"
	optionsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/listener/v1"
	secretsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/secrets/v1"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// logsListener makes the internal listener whose filter ships logs, and the
// cluster of the receiver, which has the same name.
func (t *translator) logsListener(a *mesh.Adapter) {
	name := ListenerOf(a)
	t.set.Listeners = append(t.set.Listeners, &listenerv3.Listener{
		Name:              name,
		ListenerSpecifier: &listenerv3.Listener_InternalListener{InternalListener: &listenerv3.Listener_InternalListenerConfig{}},
		StatPrefix:        a.Metadata.Namespace + "." + a.Metadata.Name,
		FilterChains: []*listenerv3.FilterChain{{
			Filters: []*listenerv3.Filter{filter("dragoman.filters.network.logs", t.logsFilter(a.Spec.Logs, name))},
		}},
		Metadata: &corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{
			resource.ListenerMetadata: pack(&optionsv1.ListenerOptions{DrainDeadline: duration(nil, defaultDrainDeadline)}),
		}},
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
	})
}

func (t *translator) logsFilter(l *mesh.LogsAdapter, name string) *logsv1.Logs {
	limits, batch := orEmpty(l.Limits), orEmpty(l.Batch)
	p := &logsv1.Logs{
		Resource: l.Resource, Positions: l.LogPositions(t.meta), PositionsByDefault: l.Positions == "",
		MaxLineBytes: bytesValue(limits.Line), MaxFiles: optional(limits.Files),
		RotateWait: lasting(l.RotateWait), BatchBytes: bytesValue(batch.Bytes), BatchRecords: optional(batch.Records), BatchInterval: lasting(batch.Interval),
	}
	for i := range l.Sources {
		p.Sources = append(p.Sources, logSource(&l.Sources[i]))
	}
	t.logSink(&l.Sink, p, name)
	return p
}

func bytesValue(b *mesh.Bytes) *wrapperspb.UInt64Value {
	if b == nil {
		return nil
	}
	return wrapperspb.UInt64(uint64(*b))
}

func logSource(s *mesh.LogSource) *logsv1.Source {
	p := &logsv1.Source{
		Name: s.Name, Paths: s.Paths, Exclude: s.Exclude, FromEnd: s.StartAt == "End", Format: string(s.Format), Pattern: s.Pattern,
		DropUnparsable: s.OnUnparsable == mesh.RuleDrop, DropTooLong: s.OnTooLong == "Drop", Resource: s.Resource,
	}
	switch s.Runtime {
	case "cri":
		p.Runtime = logsv1.Runtime_CRI
	case "docker":
		p.Runtime = logsv1.Runtime_DOCKER
	}
	if f := s.Fields; f != nil {
		p.Fields = &logsv1.Fields{
			Timestamp: f.Timestamp, TimeFormat: f.TimeFormat, Severity: f.Severity, Body: f.Body, TraceId: f.TraceID, SpanId: f.SpanID, Severities: f.Severities,
		}
	}
	if m := s.Multiline; m != nil {
		p.Multiline = &logsv1.Multiline{Start: m.Start, MaxLines: optional(m.MaxLines), Timeout: lasting(m.Timeout)}
	}
	return p
}

// Paths of the receivers.
const (
	otlpPath = "/v1/logs"
	lokiPath = "/loki/api/v1/push"
	bulkPath = "/_bulk"
)

func (t *translator) logSink(s *mesh.LogSink, p *logsv1.Logs, name string) {
	switch {
	case s.OTLP != nil:
		grpc := s.OTLP.Protocol != "http"
		peer := t.logPeer(&s.OTLP.LogReceiver, name, cmp.Or(s.OTLP.Path, otlpPath))
		if grpc {
			peer.Path = ""
		}
		p.Sink = &logsv1.Logs_Otlp{Otlp: &logsv1.Otlp{Peer: peer, Grpc: grpc}}
	case s.Elasticsearch != nil:
		e := s.Elasticsearch
		path := strings.TrimSuffix(e.Path, "/") + bulkPath
		if e.Pipeline != "" {
			path += "?pipeline=" + e.Pipeline
		}
		p.Sink = &logsv1.Logs_Elasticsearch{Elasticsearch: &logsv1.Elasticsearch{Peer: t.logPeer(&e.LogReceiver, name, path), Index: e.Index}}
	case s.Loki != nil:
		l := s.Loki
		p.Sink = &logsv1.Logs_Loki{Loki: &logsv1.Loki{
			Peer: t.logPeer(&l.LogReceiver, name, cmp.Or(l.Path, lokiPath)), Tenant: l.Tenant, Labels: l.Labels, LabelsFrom: l.LabelsFrom,
		}}
	default:
		p.Sink = &logsv1.Logs_Stdout{Stdout: &logsv1.Stdout{}}
	}
}

// logPeer makes the cluster of a receiver.
func (t *translator) logPeer(r *mesh.LogReceiver, name, path string) *logsv1.Peer {
	upstream := &mesh.Upstream{Address: r.Address, Service: r.Service, TLS: r.TLS}
	cluster := &clusterv3.Cluster{
		Name: name, TransportSocket: t.upstreamTLS(r.TLS, name), ConnectTimeout: durationpb.New(defaultConnectTimeout),
	}
	t.alike(upstream, cluster)
	t.set.Clusters = append(t.set.Clusters, cluster)
	return &logsv1.Peer{
		Cluster: name, Host: t.logHost(r), Path: path, Headers: r.Headers, Timeout: lasting(r.Timeout), Gzip: r.Compression != "none",
		Auth: t.logAuth(r.Auth, name),
	}
}

// logHost is what requests are addressed to.
func (t *translator) logHost(r *mesh.LogReceiver) string {
	if s := r.Service; s != nil {
		key := serviceKey(s, t.meta.Namespace)
		return key.Name + "." + key.Namespace + ".svc"
	}
	if strings.HasPrefix(r.Address, "/") || strings.HasPrefix(r.Address, "@") {
		return "localhost"
	}
	if host, port, err := net.SplitHostPort(r.Address); err == nil && (port == "80" || port == "443") && !strings.Contains(host, ":") {
		return host
	}
	return r.Address
}

func (t *translator) logAuth(a *mesh.LogAuth, name string) *logsv1.Auth {
	if a == nil {
		return nil
	}
	value := func(ref *mesh.SecretKeyRef, file, env, what string) *secretsv1.SecretKey {
		return t.value(ref, source("", file, env), name+"/"+what)
	}
	return &logsv1.Auth{
		Username:    a.Username,
		Password:    value(a.PasswordSecret, a.PasswordFile, a.PasswordEnv, "password"),
		BearerToken: value(a.BearerTokenSecret, a.BearerTokenFile, a.BearerTokenEnv, "bearer-token"),
		ApiKey:      value(a.APIKeySecret, a.APIKeyFile, a.APIKeyEnv, "api-key"),
	}
}

// logs adds what an Adapter of logs refers to.
func (r *references) logs(l *mesh.LogsAdapter) {
	receiver := l.Sink.Receiver()
	if receiver == nil {
		return
	}
	r.upstream(&mesh.Upstream{Service: receiver.Service, TLS: receiver.TLS})
	a := orEmpty(receiver.Auth)
	for _, k := range []*mesh.SecretKeyRef{a.PasswordSecret, a.BearerTokenSecret, a.APIKeySecret} {
		if k != nil {
			r.add(inventory.KindSecret, k.Name)
		}
	}
}
