package engine

import (
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// variantKey names an object in one environment, or a port of a Service that
// gRPC clients call themselves.
type variantKey struct {
	object      inventory.Ref
	environment string
	source      string // what chose it: the listener says it
	port        uint32 // 0: it is an object
}

// variant is what an object is in one environment, for all who need it.
type variant struct {
	key    variantKey
	kinds  map[*kind]struct{} // of nodes that it is for
	askers map[*node]struct{} // that have asked for it
	refs   []inventory.Ref
	// zoned: the endpoints depend on the zone.
	zoned bool
	// uses are the resources by zone; without zoned, all are under "".
	uses       map[string][]use
	conditions []translate.Condition
	err        error // why it could not be published
	// unknown: it has never led to resources here, and may have done so elsewhere.
	unknown bool
	// service is that of a port, as it was translated: who may have it is judged by
	// the same Service, and not by what the inventory has meanwhile.
	service *inventory.Service
}

// use is a resource that a variant consists of.
type use struct {
	name string // on the wire
	key  server.Key
}

// published is a resource that some variants use.
type published struct {
	current *server.Resource
	users   map[*variant]struct{}
}

// separator keeps the parts of an ID apart; no name has it, and people can read
// it.
const separator = " | "

// need gives a variant; a new one is to be translated.
func (e *Engine) need(key variantKey, b *batch) *variant {
	if v := e.variants[key]; v != nil {
		return v
	}
	v := &variant{key: key, kinds: map[*kind]struct{}{}, askers: map[*node]struct{}{}}
	e.variants[key] = v
	if key.port == 0 {
		add(e.byObject, key.object, v)
	}
	b.renew(v, time.Time{})
	return v
}

func (e *Engine) dropVariant(v *variant, b *batch) {
	delete(e.variants, v.key)
	remove(e.byObject, v.key.object, v)
	for _, ref := range v.refs {
		remove(e.byRef, ref, v)
	}
	e.setUses(v, nil, b)
}

// zones are those of the nodes that need a variant, sorted.
func (v *variant) zones() []string {
	zones := map[string]struct{}{}
	for k := range v.kinds {
		zones[k.zone] = struct{}{}
	}
	for n := range v.askers {
		zones[n.zone()] = struct{}{}
	}
	return slices.Sorted(maps.Keys(zones))
}

// renew translates a variant anew. Where that does not lead to resources, those
// before stay, but for a reference that is no longer permitted.
func (e *Engine) renew(v *variant, at time.Time, b *batch) {
	if v.key.port != 0 {
		e.renewPort(v, at, b)
		return
	}
	a := e.good[v.key.object]
	if a == nil {
		return // nodes leave it in this batch
	}
	e.status.touch(v.key.object)
	e.setRefs(v, translate.ReferencesIn(a, v.key.environment))
	outputs := map[string]*resource.Set{}
	zoned := false
	for _, zone := range v.zones() {
		out := e.translate(v, a, zone, b)
		v.conditions, zoned = out.Conditions, out.Zoned
		if !zoned {
			outputs = map[string]*resource.Set{"": &out.Set}
			break
		}
		outputs[zone] = &out.Set
	}
	if c := failed(v.conditions); c != nil {
		if c.Reason == translate.ReasonRefNotPermitted {
			e.setUses(v, nil, b)
		}
		e.setUnknown(v, v.uses == nil && c.Reason != translate.ReasonRefNotPermitted, b)
		return
	}
	v.zoned = zoned
	e.publish(v, outputs, at, b)
}

// failed gives the first condition that is not true, or nil.
func failed(conditions []translate.Condition) *translate.Condition {
	for i := range conditions {
		if !conditions[i].Status {
			return &conditions[i]
		}
	}
	return nil
}

// surroundings are the inventory, with the documents of objects that are in force.
type surroundings struct {
	*inventory.Store
	good map[inventory.Ref]mesh.Object
}

// Ambassador implements translate.World.
func (s surroundings) Ambassador(k inventory.Key) *inventory.Object {
	if obj := s.good[inventory.Ref{Kind: inventory.KindAmbassador, Key: k}]; obj != nil {
		return &inventory.Object{Object: obj}
	}
	return nil
}

// translate is the one place that calls the translation.
func (e *Engine) translate(v *variant, a mesh.Object, zone string, b *batch) *translate.Output {
	began := time.Now()
	_, span := e.opts.Tracer.Start(b.ctx, "translate", trace.WithAttributes(
		attribute.String("dragoman.object", named(v.key.object)),
		attribute.String("dragoman.environment", v.key.environment), attribute.String("dragoman.zone", zone)))
	defer span.End()
	out := translate.Object(a, translate.Variant{Environment: v.key.environment, Source: v.key.source, Zone: zone}, surroundings{e.opts.Store, e.good})
	if c := failed(out.Conditions); c != nil {
		span.SetStatus(codes.Error, c.Reason)
	}
	e.metrics.translations.Inc()
	e.metrics.translating.Observe(time.Since(began).Seconds())
	return &out
}

// publish makes the outputs by zone a variant's resources, all of them or none.
func (e *Engine) publish(v *variant, outputs map[string]*resource.Set, at time.Time, b *batch) {
	v.err = nil
	uses := map[string][]use{}
	made := map[server.Key]*server.Resource{}
	for zone, set := range outputs {
		for _, item := range v.items(set, zone) {
			r, err := server.NewResource(item.key.TypeURL, item.name, item.message)
			if err != nil {
				v.err = err
				e.setUnknown(v, v.uses == nil, b)
				e.opts.Log.Error("object refused, what ran before stays", "object", named(v.key.object), "error", err)
				return
			}
			made[item.key] = r
			uses[zone] = append(uses[zone], use{item.name, item.key})
		}
	}
	for key, r := range made {
		e.put(key, r, at, b)
	}
	e.setUses(v, uses, b)
	e.setUnknown(v, false, b)
}

// item is a resource that is to be published.
type item struct {
	use
	message proto.Message
}

// items lists the resources of a set. Of these, listeners differ by what chose
// the environment, and endpoints by zone; the others are what their names say.
func (v *variant) items(set *resource.Set, zone string) []item {
	var out []item
	add := func(typeURL, name, suffix string, m proto.Message) {
		out = append(out, item{use{name, server.Key{TypeURL: typeURL, ID: name + suffix}}, m})
	}
	chosen := ""
	if v.key.port == 0 {
		chosen = separator + v.key.environment + separator + v.key.source
	}
	for _, l := range set.Listeners {
		add(server.ListenerType, l.GetName(), chosen, l)
	}
	for _, r := range set.Routes {
		add(server.RouteType, r.GetName(), "", r)
	}
	for _, c := range set.Clusters {
		add(server.ClusterType, c.GetName(), "", c)
	}
	for _, a := range set.Endpoints {
		suffix := ""
		if zone != "" {
			suffix = separator + zone
		}
		add(server.EndpointType, a.GetClusterName(), suffix, a)
	}
	for _, s := range set.Secrets {
		add(server.SecretType, s.GetName(), "", s)
	}
	return out
}

// put publishes a resource if it is another than before.
func (e *Engine) put(key server.Key, r *server.Resource, at time.Time, b *batch) {
	p := e.resources[key]
	if p == nil {
		p = &published{users: map[*variant]struct{}{}}
		e.resources[key] = p
	}
	if p.current != nil && p.current.Version() == r.Version() {
		return
	}
	p.current = r
	b.changes = append(b.changes, server.Change{Key: key, Resource: r, At: at})
}

// setUses makes uses what a variant consists of. If those are other names than
// before, all who need it are granted them.
func (e *Engine) setUses(v *variant, uses map[string][]use, b *batch) {
	if maps.EqualFunc(v.uses, uses, slices.Equal) {
		return
	}
	for _, list := range uses {
		for _, u := range list {
			e.resources[u.key].users[v] = struct{}{}
		}
	}
	for _, list := range v.uses {
		for _, u := range list {
			if !has(uses, u) {
				delete(e.resources[u.key].users, v)
				b.released[u.key] = struct{}{}
			}
		}
	}
	v.uses = uses
	for k := range v.kinds {
		b.regrant(k)
	}
	for n := range v.askers {
		b.grant(n, time.Time{})
	}
}

func has(uses map[string][]use, u use) bool {
	for _, list := range uses {
		if slices.Contains(list, u) {
			return true
		}
	}
	return false
}

// withdraw takes back resources that nobody uses any more.
func (e *Engine) withdraw(released map[server.Key]struct{}) {
	var changes []server.Change
	for key := range released {
		if p := e.resources[key]; p != nil && len(p.users) == 0 {
			delete(e.resources, key)
			e.forgetRefusal(key)
			changes = append(changes, server.Change{Key: key})
		}
	}
	if len(changes) > 0 {
		e.server.Publish(changes)
	}
}

// names are what a kind is granted: type URL, name and ID.
func (k *kind) names() map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, v := range k.variants {
		v.names(k.zone, out)
	}
	return out
}

// names adds what a variant consists of in a zone.
func (v *variant) names(zone string, out map[string]map[string]string) {
	if !v.zoned {
		zone = ""
	}
	for _, u := range v.uses[zone] {
		if out[u.key.TypeURL] == nil {
			out[u.key.TypeURL] = map[string]string{}
		}
		out[u.key.TypeURL][u.name] = u.key.ID
	}
}

// setRefs keeps the index of who looks up what.
func (e *Engine) setRefs(v *variant, refs []inventory.Ref) {
	if slices.Equal(v.refs, refs) {
		return
	}
	for _, ref := range v.refs {
		remove(e.byRef, ref, v)
	}
	for _, ref := range refs {
		add(e.byRef, ref, v)
	}
	v.refs = refs
}

func add[K comparable](m map[K]map[*variant]struct{}, k K, v *variant) {
	if m[k] == nil {
		m[k] = map[*variant]struct{}{}
	}
	m[k][v] = struct{}{}
}

func remove[K comparable](m map[K]map[*variant]struct{}, k K, v *variant) {
	delete(m[k], v)
	if len(m[k]) == 0 {
		delete(m, k)
	}
}
