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
	// uses are the resources by what counts of a spot, which is what made a difference
	// when they were made.
	uses       map[translate.Spot][]use
	counts     translate.Counts
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
	e.setUses(v, nil, translate.Counts{}, b)
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
	outputs, counts, _ := v.bySpot(e.translation(v, b)) // never fails for an object
	if c := failed(v.conditions); c != nil {
		if c.Reason == translate.ReasonRefNotPermitted {
			e.setUses(v, nil, translate.Counts{}, b)
		}
		e.setUnknown(v, v.uses == nil && c.Reason != translate.ReasonRefNotPermitted, b)
		return
	}
	e.publish(v, outputs, counts, at, b)
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
func (e *Engine) translate(v *variant, a mesh.Object, spot translate.Spot, b *batch) *translate.Output {
	began := time.Now()
	_, span := e.opts.Tracer.Start(b.ctx, "translate", trace.WithAttributes(
		attribute.String("dragoman.object", named(v.key.object)),
		attribute.String("dragoman.environment", v.key.environment), attribute.String("dragoman.zone", spot.Zone), attribute.String("dragoman.node", spot.NodeName)))
	defer span.End()
	out := translate.Object(a, translate.Variant{Environment: v.key.environment, Source: v.key.source, Spot: spot}, surroundings{e.opts.Store, e.good})
	if c := failed(out.Conditions); c != nil {
		span.SetStatus(codes.Error, c.Reason)
	}
	e.metrics.translations.Inc()
	e.metrics.translating.Observe(time.Since(began).Seconds())
	return &out
}

// publish makes the outputs by spot a variant's resources, all of them or none.
func (e *Engine) publish(v *variant, outputs map[translate.Spot]*resource.Set, counts translate.Counts, at time.Time, b *batch) {
	uses, made, err := v.resources(outputs, counts)
	if v.err = err; err != nil {
		e.setUnknown(v, v.uses == nil, b)
		e.opts.Log.Error("object refused, what ran before stays", "object", named(v.key.object), "error", err)
		return
	}
	for key, r := range made {
		e.put(key, r, at, b)
	}
	e.setUses(v, uses, counts, b)
	e.setUnknown(v, false, b)
}

// resources are what a variant's outputs consist of.
func (v *variant) resources(outputs map[translate.Spot]*resource.Set, counts translate.Counts) (map[translate.Spot][]use, map[server.Key]*server.Resource, error) {
	uses := map[translate.Spot][]use{}
	made := map[server.Key]*server.Resource{}
	for spot, set := range outputs {
		for _, item := range v.items(set, spot, counts) {
			if made[item.key] == nil {
				r, err := server.NewResource(item.key.TypeURL, item.name, item.message)
				if err != nil {
					return nil, nil, err
				}
				made[item.key] = r
			}
			uses[spot] = append(uses[spot], use{item.name, item.key})
		}
	}
	return uses, made, nil
}

// item is a resource that is to be published.
type item struct {
	use
	message proto.Message
}

// items lists the resources of a set. Of these, listeners differ by what chose
// the environment, and endpoints by spot, wherever they stand; the others are what
// their names say. Endpoints for a node that is not known have an ID of their own, too:
// who had those for all when the Service became Local is not to lose them before it is
// granted its own.
func (v *variant) items(set *resource.Set, spot translate.Spot, counts translate.Counts) []item {
	var out []item
	add := func(typeURL, name, suffix string, m proto.Message) {
		out = append(out, item{use{name, server.Key{TypeURL: typeURL, ID: name + suffix}}, m})
	}
	chosen := ""
	if v.key.port == 0 {
		chosen = separator + v.key.environment + separator + v.key.source
	}
	placed := ""
	if spot.Zone != "" {
		placed = separator + spot.Zone
	}
	if counts.NodeName {
		placed += separator + "node " + spot.NodeName
	}
	for _, l := range set.Listeners {
		add(server.ListenerType, l.GetName(), chosen, l)
	}
	for _, r := range set.Routes {
		add(server.RouteType, r.GetName(), "", r)
	}
	for _, c := range set.Clusters {
		suffix := ""
		if c.GetLoadAssignment() != nil {
			suffix = placed
		}
		add(server.ClusterType, c.GetName(), suffix, c)
	}
	for _, a := range set.Endpoints {
		add(server.EndpointType, a.GetClusterName(), placed, a)
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
func (e *Engine) setUses(v *variant, uses map[translate.Spot][]use, counts translate.Counts, b *batch) {
	v.counts = counts
	if maps.EqualFunc(v.uses, uses, slices.Equal) {
		return
	}
	used := map[server.Key]struct{}{}
	for _, list := range uses {
		for _, u := range list {
			used[u.key] = struct{}{}
			e.resources[u.key].users[v] = struct{}{}
		}
	}
	for _, list := range v.uses {
		for _, u := range list {
			if _, ok := used[u.key]; !ok {
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

// names are what a kind is granted at a spot: type URL, name and ID.
func (k *kind) names(spot translate.Spot) map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, v := range k.variants {
		v.names(spot, out)
	}
	return out
}

// names adds what a variant consists of at a spot.
func (v *variant) names(spot translate.Spot, out map[string]map[string]string) {
	for _, u := range v.uses[v.counts.Of(spot)] {
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
