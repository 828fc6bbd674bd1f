// Package snapshot holds complete, consistent configurations: every resource
// valid, every reference among them fulfilled. A snapshot never changes.
package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Snapshot is one complete configuration. The maps are by name and, like what
// they hold, must only be read.
type Snapshot struct {
	// Version is a hash of the content: equal versions are equal snapshots.
	Version   string
	Listeners map[string]*resource.Listener
	// Clusters with DiscoverEDS have the endpoints of their Assignment.
	Clusters map[string]*resource.Cluster
	// Assignments are by the EDS service name that clusters give.
	Assignments map[string]*resource.Assignment
	// Routes are those that came by RDS; inline ones are in their listeners.
	Routes map[string]*resource.RouteConfig
	// Secrets are those delivered and those that other resources hold inline.
	Secrets map[string]*resource.Secret

	// hashes of the protos, by key
	hashes map[key]string
}

type key struct{ typeURL, name string }

// Build validates all resources, and each against the others. The error is a
// resource.Errors with everything that is wrong.
func Build(set resource.Set) (*Snapshot, error) { return Next(nil, set) }

// Next is Build after an earlier snapshot: of resources that are the very same
// messages as then, which nobody may have changed, it takes what was found then.
// Its cost is that of what is new, and of the references between resources.
func Next(before *Snapshot, set resource.Set) (*Snapshot, error) {
	if before == nil {
		before = &Snapshot{}
	}
	b := &builder{before: before, s: &Snapshot{
		Listeners:   make(map[string]*resource.Listener, len(set.Listeners)),
		Clusters:    make(map[string]*resource.Cluster, len(set.Clusters)),
		Assignments: make(map[string]*resource.Assignment, len(set.Endpoints)),
		Routes:      make(map[string]*resource.RouteConfig, len(set.Routes)),
		Secrets:     make(map[string]*resource.Secret, len(set.Secrets)),
		hashes:      make(map[key]string),
	}}
	for _, p := range set.Secrets {
		was := before.Secrets[p.GetName()]
		add(b, resource.SecretType, p, p.GetName(), b.s.Secrets, was, was != nil && was.Raw == p, resource.ParseSecret)
	}
	for _, p := range set.Endpoints {
		was := before.Assignments[p.GetClusterName()]
		add(b, resource.EndpointType, p, p.GetClusterName(), b.s.Assignments, was, was != nil && was.Raw == p, resource.ParseAssignment)
	}
	for _, p := range set.Clusters {
		was := before.Clusters[p.GetName()] // with its endpoints, which crossCheck replaces
		add(b, resource.ClusterType, p, p.GetName(), b.s.Clusters, was, was != nil && was.Raw == p, resource.ParseCluster)
	}
	for _, p := range set.Routes {
		was := before.Routes[p.GetName()]
		add(b, resource.RouteType, p, p.GetName(), b.s.Routes, was, was != nil && was.Raw == p, resource.ParseRoutes)
	}
	for _, p := range set.Listeners {
		was := before.Listeners[p.GetName()]
		add(b, resource.ListenerType, p, p.GetName(), b.s.Listeners, was, was != nil && was.Raw == p, resource.ParseListener)
	}
	b.inlineSecrets()
	b.crossCheck()
	if len(b.errs) > 0 {
		return nil, b.errs
	}
	b.s.Version = b.version()
	return b.s, nil
}

type builder struct {
	before *Snapshot
	s      *Snapshot
	errs   resource.Errors
	broken map[key]bool // did not parse: its errors are known already
}

// add parses one resource into a map, unless it is the same as it was.
func add[P proto.Message, T any](
	b *builder, typeURL string, p P, name string, into map[string]*T, was *T, same bool, parse func(P) (*T, error),
) {
	k := key{typeURL, name}
	if _, double := b.s.hashes[k]; double {
		b.fail(typeURL, name, "name", "there are two of this name")
		return
	}
	if same {
		into[name], b.s.hashes[k] = was, b.before.hashes[k]
		return
	}
	b.s.hashes[k] = hashOf(p)
	parsed, err := parse(p)
	into[name] = parsed
	if err == nil {
		return
	}
	if b.broken == nil {
		b.broken = make(map[key]bool)
	}
	b.broken[k] = true
	if many, ok := errors.AsType[resource.Errors](err); ok {
		b.errs = append(b.errs, many...)
		return
	}
	b.fail(typeURL, name, "", "%s", err)
}

func (b *builder) fail(typeURL, name, path, format string, args ...any) {
	b.errs = append(b.errs, &resource.Error{
		TypeURL: typeURL, Name: name, Path: path, Reason: fmt.Sprintf(format, args...),
	})
}

// inlineSecrets puts the secrets that resources hold beside those delivered.
func (b *builder) inlineSecrets() {
	for _, name := range slices.Sorted(maps.Keys(b.s.Clusters)) {
		for _, s := range b.s.Clusters[name].Secrets {
			b.inlineSecret(resource.ClusterType, name, s)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.s.Listeners)) {
		for _, s := range b.s.Listeners[name].Secrets {
			b.inlineSecret(resource.ListenerType, name, s)
		}
	}
}

// inlineSecret takes one secret in. Only a delivered secret that was named to
// look like an inline one can already be there.
func (b *builder) inlineSecret(typeURL, owner string, s *resource.Secret) {
	if _, double := b.s.Secrets[s.Name]; double {
		b.fail(typeURL, owner, "", "holds a secret that is named like another, %q", s.Name)
		return
	}
	b.s.Secrets[s.Name] = s
}

func (b *builder) crossCheck() {
	for _, name := range slices.Sorted(maps.Keys(b.s.Clusters)) {
		b.checkCluster(name)
	}
	for _, name := range slices.Sorted(maps.Keys(b.s.Routes)) {
		b.checkRoutes(name)
	}
	places := make(map[resource.ListenAddress]string, len(b.s.Listeners))
	for _, name := range slices.Sorted(maps.Keys(b.s.Listeners)) {
		b.checkListener(name, places)
	}
}

func (b *builder) checkCluster(name string) {
	if b.broken[key{resource.ClusterType, name}] {
		return
	}
	c := b.s.Clusters[name]
	b.checkSecrets(resource.ClusterType, name, c.SecretNames(), c.LateSecrets())
	if c.TLS != nil {
		b.checkKinds(resource.ClusterType, name, []string{c.TLS.Certificate}, c.TLS.Validation)
	}
	for _, k := range append([]resource.SecretKey{c.Redis.PasswordSecret, c.Discovery.Sentinel.PasswordSecret}, c.LoginKeys()...) {
		b.checkValue(resource.ClusterType, name, k)
	}
	if c.Discovery.Type != resource.DiscoverEDS {
		return
	}
	a, ok := b.s.Assignments[c.Discovery.EDSServiceName]
	if !ok {
		b.fail(resource.ClusterType, name, "eds_cluster_config.service_name", "there are no endpoints %q", c.Discovery.EDSServiceName)
		return
	}
	whole := *c
	whole.Endpoints = a.Endpoints
	b.s.Clusters[name] = &whole
}

func (b *builder) checkRoutes(name string) {
	if b.broken[key{resource.RouteType, name}] {
		return
	}
	for _, cluster := range b.s.Routes[name].ClusterNames() {
		if _, ok := b.s.Clusters[cluster]; !ok {
			b.fail(resource.RouteType, name, "virtual_hosts", "there is no cluster %q", cluster)
		}
	}
}

func (b *builder) checkListener(name string, places map[resource.ListenAddress]string) {
	if b.broken[key{resource.ListenerType, name}] {
		return
	}
	l := b.s.Listeners[name]
	place := resource.ListenAddress{Network: l.Address.Network, Addr: l.Address.Addr}
	if other, taken := places[place]; taken {
		b.fail(resource.ListenerType, name, "address", "%s is the address of listener %q too", place.Addr, other)
	}
	places[place] = name
	for _, cluster := range l.Filter.Config.ClusterNames() {
		if _, ok := b.s.Clusters[cluster]; !ok {
			b.fail(resource.ListenerType, name, "filter_chains[0]", "there is no cluster %q", cluster)
		}
	}
	b.checkSecrets(resource.ListenerType, name, l.SecretNames(), l.LateSecrets())
	if l.TLS != nil {
		b.checkKinds(resource.ListenerType, name, l.TLS.Certificates, l.TLS.ClientCA)
	}
	if m, ok := l.Filter.Config.(*resource.HTTPManager); ok && m.RoutesName != "" {
		if _, ok := b.s.Routes[m.RoutesName]; !ok {
			b.fail(resource.ListenerType, name, "filter_chains[0]", "there are no routes %q", m.RoutesName)
		}
	}
	if redis, ok := l.Filter.Config.(*resource.RedisFilter); ok {
		for _, u := range redis.Users {
			for _, k := range u.Passwords {
				b.checkValue(resource.ListenerType, name, k)
			}
		}
	}
	if keyed, ok := l.Filter.Config.(interface{ SecretKeys() []resource.SecretKey }); ok {
		for _, k := range keyed.SecretKeys() {
			b.checkValue(resource.ListenerType, name, k)
		}
	}
}

// checkSecrets looks whether all secrets are there but those that may be late.
func (b *builder) checkSecrets(typeURL, name string, secrets, late []string) {
	for _, s := range secrets {
		if _, ok := b.s.Secrets[s]; !ok && !slices.Contains(late, s) {
			b.fail(typeURL, name, "", "there is no secret %q", s)
		}
	}
}

// checkKinds looks whether TLS secrets are of the kind that is needed.
func (b *builder) checkKinds(typeURL, name string, certificates []string, validation string) {
	for _, c := range certificates {
		if s, ok := b.s.Secrets[c]; ok && s.Certificate == nil {
			b.fail(typeURL, name, "transport_socket", "secret %q is not a tls_certificate", c)
		}
	}
	if s, ok := b.s.Secrets[validation]; ok && s.Validation == nil {
		b.fail(typeURL, name, "transport_socket", "secret %q is not a validation_context", validation)
	}
}

// checkValue looks whether a generic secret has the key that is needed.
func (b *builder) checkValue(typeURL, name string, k resource.SecretKey) {
	s, ok := b.s.Secrets[k.Name]
	if !ok {
		return
	}
	if _, ok := s.Generic[k.Key]; !ok {
		b.fail(typeURL, name, "", "secret %q has no value %q", k.Name, k.Key)
	}
}

func hashOf(p proto.Message) string {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		return "" // not UTF-8 somewhere; parsing says so
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// version hashes the hashes, in the order of types and names.
func (b *builder) version() string {
	lines := make([]string, 0, len(b.s.hashes))
	for k, hash := range b.s.hashes {
		lines = append(lines, k.typeURL+"\x00"+k.name+"\x00"+hash+"\n")
	}
	slices.Sort(lines)
	h := sha256.New()
	for _, line := range lines {
		h.Write([]byte(line))
	}
	const short = 12 // bytes: enough to tell versions apart, short enough to read
	return hex.EncodeToString(h.Sum(nil)[:short])
}
