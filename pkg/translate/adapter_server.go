package translate

import (
	metricsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/metrics/v1"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// ambassadors is where those are looked up that others name; nil: there is none.
type ambassadors interface {
	Ambassador(inventory.Key) *inventory.Object
}

// documents are the Ambassadors among the objects that are translated together.
type documents map[inventory.Key]*inventory.Object

func documentsOf(objs []mesh.Object) documents {
	d := make(documents)
	for _, obj := range objs {
		if ref := inventory.RefOf(obj); ref.Kind == inventory.KindAmbassador {
			d[ref.Key] = &inventory.Object{Object: obj}
		}
	}
	return d
}

// Ambassador implements ambassadors.
func (d documents) Ambassador(k inventory.Key) *inventory.Object { return d[k] }

// server is the server that a source asks, if it is one.
func (t *translator) server(source *mesh.MetricsSource, name string) *metricsv1.Server {
	s, protocol := source.Server()
	p := &metricsv1.Server{
		Address: s.Address, Database: s.Database, Auth: t.sourceAuth(s.Auth, name), Tls: sourceTLS(s.TLS), Timeout: lasting(s.Timeout),
	}
	if s.Ambassador != nil {
		p.Address = t.ambassadorAddress(s, protocol, source.Name)
	}
	return p
}

// ambassadorAddress is where the pod of the source reaches the Ambassador that the
// source names.
func (t *translator) ambassadorAddress(s *mesh.ServerSource, protocol mesh.Protocol, source string) string {
	key := inventory.Key{Namespace: t.meta.Namespace, Name: s.Ambassador.Name}
	object := t.others.Ambassador(key)
	if object == nil || object.Err != nil {
		t.fail(ReasonAmbassadorNotFound, "source %s: there is no Ambassador %v", source, key)
		return ""
	}
	a, ok := object.Object.(*mesh.Ambassador)
	if !ok {
		t.fail(ReasonAmbassadorNotFound, "source %s: there is no Ambassador %v", source, key)
		return ""
	}
	if reason, hint := s.Misfit(protocol, a); reason != "" {
		t.fail(ReasonAmbassadorUnfit, "source %s: %s: %s", source, reason, hint)
		return ""
	}
	return a.Spec.Listen.Local()
}
