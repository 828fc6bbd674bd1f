package translate

import (
	"cmp"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// World is where references are looked up; *inventory.Store is one. Each method
// returns nil for what is not there. A nil World has nothing.
type World interface {
	Service(inventory.Key) *inventory.Service
	Lease(inventory.Key) *inventory.Lease
	Secret(inventory.Key) *inventory.Secret
	ConfigMap(inventory.Key) *inventory.Secret
	// Ambassador gives another object, which a source of metrics may ask. One that
	// has errors counts as none.
	Ambassador(inventory.Key) *inventory.Object
}

// References lists what the translation of an object may look up in any of its
// environments, sorted, each once.
func References(obj mesh.Object) []inventory.Ref {
	r := references{namespace: obj.Meta().Namespace}
	a, ok := obj.(*mesh.Ambassador)
	if !ok {
		r.adapter(obj)
		return r.sorted()
	}
	r.listener(&a.Spec)
	for _, env := range a.Spec.Environments {
		r.environment(&env)
	}
	return r.sorted()
}

// ReferencesIn lists what the translation of an object looks up in one
// environment, sorted, each once.
func ReferencesIn(obj mesh.Object, environment string) []inventory.Ref {
	r := references{namespace: obj.Meta().Namespace}
	a, ok := obj.(*mesh.Ambassador)
	if !ok {
		r.adapter(obj)
		return r.sorted()
	}
	r.listener(&a.Spec)
	if env, ok := a.Spec.Environments[environment]; ok {
		r.environment(&env)
	}
	return r.sorted()
}

// references gathers those of one object.
type references struct {
	namespace string
	list      []inventory.Ref
}

func (r *references) add(kind inventory.Kind, name string) {
	r.list = append(r.list, inventory.Ref{Kind: kind, Key: inventory.Key{Namespace: r.namespace, Name: name}})
}

func (r *references) sorted() []inventory.Ref {
	slices.SortFunc(r.list, inventory.Ref.Compare)
	return slices.Compact(r.list)
}

// adapter adds those of an Adapter, if it is one.
func (r *references) adapter(obj mesh.Object) {
	a, ok := obj.(*mesh.Adapter)
	switch {
	case !ok:
		return
	case a.Spec.API != nil:
		r.upstream(a.Spec.API.Upstream.Group())
		r.downstream(&a.Spec.API.Listen)
		return
	case a.Spec.Logs != nil:
		r.logs(a.Spec.Logs)
		return
	case a.Spec.Metrics == nil:
		return
	}
	for i := range a.Spec.Metrics.Sources {
		if server, _ := a.Spec.Metrics.Sources[i].Server(); server != nil && server.Ambassador != nil {
			r.add(inventory.KindAmbassador, server.Ambassador.Name)
		}
		auth := a.Spec.Metrics.Sources[i].Auth()
		if auth == nil {
			continue
		}
		for _, k := range []*mesh.SecretKeyRef{auth.PasswordSecret, auth.BearerTokenSecret} {
			if k != nil {
				r.add(inventory.KindSecret, k.Name)
			}
		}
	}
}

func (r *references) listener(s *mesh.AmbassadorSpec) {
	for _, l := range s.Listeners() {
		r.downstream(&l)
	}
	for i := range orEmpty(s.Redis).Users {
		if p := s.Redis.Users[i].PasswordSecret; p != nil {
			r.add(inventory.KindSecret, p.Name)
		}
	}
	if _, auth, _ := s.Database(); auth != nil && auth.PasswordSecret != nil {
		r.add(inventory.KindSecret, auth.PasswordSecret.Name)
	}
}

func (r *references) downstream(l *mesh.Listen) {
	if l.TLS != nil {
		r.certificate(l.TLS.Cert)
		r.authorities(l.TLS.ClientCA)
	}
}

func (r *references) environment(env *mesh.Environment) {
	r.upstream(&env.Upstream)
	for _, s := range env.StandbyServices() {
		r.list = append(r.list, inventory.Ref{Kind: inventory.KindService, Key: serviceKey(s, r.namespace)})
	}
	for _, pool := range env.Pools {
		r.upstream(&pool)
	}
}

func (r *references) upstream(u *mesh.Upstream) {
	for _, s := range u.Services() {
		r.list = append(r.list, inventory.Ref{Kind: inventory.KindService, Key: serviceKey(s, r.namespace)})
	}
	if u.Leader != nil {
		r.add(inventory.KindLease, u.Leader.Election)
	}
	r.credentials(u.Credentials)
	r.credentials(orEmpty(u.Sentinel).Credentials)
	if t := u.TLS; t != nil {
		r.certificate(t.Cert)
		r.authorities(t.CA)
	}
}

func (r *references) credentials(k *mesh.Credentials) {
	if k != nil && k.Secret != nil {
		r.add(inventory.KindSecret, k.Secret.Name)
	}
}

func (r *references) certificate(s *mesh.SecretSource) {
	if s != nil {
		r.add(inventory.KindSecret, s.Secret.Name)
	}
}

func (r *references) authorities(s *mesh.CASource) {
	switch {
	case s == nil:
	case s.Secret != nil:
		r.add(inventory.KindSecret, s.Secret.Name)
	case s.ConfigMap != nil:
		r.add(inventory.KindConfigMap, s.ConfigMap.Name)
	}
}

// serviceKey is what a reference names, made in an object of the namespace.
func serviceKey(ref *mesh.ServiceRef, namespace string) inventory.Key {
	return inventory.Key{Namespace: cmp.Or(ref.Namespace, namespace), Name: ref.Name}
}
