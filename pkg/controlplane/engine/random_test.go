package engine_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// history changes a small world at random. Services and Secrets change, and are
// always there: what stays when they go is another test's matter.
type history struct {
	*rig
	random     *rand.Rand
	objects    map[string]mesh.Object // by "namespace/name"
	namespaces []string
	clients    map[string]*adstest.Client // by "namespace/pod"
}

func pick[T any](h *history, from ...T) T { return from[h.random.IntN(len(from))] }

func (h *history) step() {
	ns := pick(h, h.namespaces...)
	switch h.random.IntN(8) {
	case 0, 1, 2:
		h.object(ns)
	case 3:
		name := fmt.Sprint("o", h.random.IntN(5))
		delete(h.objects, ns+"/"+name)
		h.store.Delete(objectRef(ns, name), time.Now())
	case 4:
		h.relabel(ns, fmt.Sprint("web-", h.random.IntN(3)))
	case 5:
		labels := map[string]string{}
		if e := pick(h, "", "dev", "prod"); e != "" {
			labels[mesh.EnvironmentLabel] = e
		}
		inventory.Put(h.store, inventory.Ref{Kind: inventory.KindNamespace, Key: inventory.Key{Name: ns}},
			&inventory.Namespace{Name: ns, Labels: labels}, time.Now())
	case 6:
		h.serviceOf(ns, h.random.IntN(3))
	case 7:
		h.secret(ns, fmt.Sprint("secret-", h.random.IntN(2)), fmt.Sprint("password-", h.random.IntN(3)))
	}
}

func (h *history) object(ns string) {
	i := h.random.IntN(5)
	upstream := func() string {
		if h.random.IntN(3) == 0 {
			return fmt.Sprintf("{address: '127.0.0.1:%d'}", 1+h.random.IntN(5))
		}
		service := fmt.Sprintf("service: {name: s%d, namespace: %s, port: 6379}", h.random.IntN(3), pick(h, h.namespaces...))
		if h.random.IntN(3) == 0 { // a name beside a Service: its endpoints are the cluster's own
			return fmt.Sprintf("{shards: [{primary: {address: 'redis.example:6379'}, replicas: [{%s}]}]}", service)
		}
		return fmt.Sprintf("{%s, credentials: {secret: {name: secret-%d}}}", service, h.random.IntN(2))
	}
	text := fmt.Sprintf(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: o%d, namespace: %s}
spec:
  selector: %s
  protocol: redis
  listen: {port: %d}
  environments: {dev: %s, prod: %s}
%s
`, i, ns, pick(h, "{matchLabels: {app: web}}", "{matchExpressions: [{key: tier, operator: Exists}]}", "null"),
		6000+i, upstream(), upstream(), pick(h, "", "  defaultEnvironment: dev", `  environmentRules: [{match: "web-1", environment: prod}]`))
	objs, errs := mesh.Decode("test.yaml", []byte(text), mesh.InCluster())
	if err := errs.Err(); err != nil {
		h.t.Fatal(err)
	}
	h.objects[objs[0].Key()] = objs[0]
	inventory.Put(h.store, objectRef(ns, fmt.Sprint("o", i)), &inventory.Object{Object: objs[0]}, time.Now())
}

func (h *history) relabel(ns, pod string) {
	labels := map[string]string{"app": pick(h, "web", "batch")}
	if h.random.IntN(2) == 0 {
		labels["tier"] = ""
	}
	if e := pick(h, "", "dev", "prod", "qa"); e != "" {
		labels[mesh.EnvironmentLabel] = e
	}
	h.podAt(ns, pod, "uid-"+pod, translate.Spot{Zone: pick(h, "", "a", "b"), NodeName: pick(h, "", "n0", "n1")}, labels)
}

func (h *history) serviceOf(ns string, i int) {
	key := inventory.Key{Namespace: ns, Name: fmt.Sprint("s", i)}
	s := &inventory.Service{Key: key, Ports: []inventory.ServicePort{{Port: 6379, Protocol: "TCP"}}}
	if h.random.IntN(2) == 0 {
		s.AllowFrom = []string{pick(h, h.namespaces...)}
	}
	hints := h.random.IntN(2) == 0
	s.Local = h.random.IntN(3) == 0
	for i := range h.random.IntN(4) {
		e := inventory.Endpoint{
			Address: fmt.Sprintf("10.0.0.%d", i+1), Ports: map[string]uint32{"": uint32(7000 + h.random.IntN(3))},
			Ready: true, Serving: true, Zone: string(rune('a' + i%2)), NodeName: fmt.Sprint("n", i%3),
		}
		if hints {
			e.ForZones = []string{e.Zone}
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	inventory.Put(h.store, inventory.Ref{Kind: inventory.KindService, Key: key}, s, time.Now())
}

// wanted is what a pod is to have, by the other way to translate: all of its
// objects at once.
func (h *history) wanted(ns, name string) map[string]proto.Message {
	out := map[string]proto.Message{}
	pod := h.store.Pod(inventory.Key{Namespace: ns, Name: name})
	if pod == nil {
		return out
	}
	node := translate.Node{
		Facts:     mesh.NodeFacts{PodLabel: pod.Labels[mesh.EnvironmentLabel], Namespace: ns, Hostname: name},
		InCluster: true, Labels: pod.Labels, Zone: pod.Zone, NodeName: pod.NodeName,
	}
	if n := h.store.Namespace(ns); n != nil {
		node.Facts.NamespaceLabel = n.Labels[mesh.EnvironmentLabel]
	}
	set, _ := translate.Translate(slices.Collect(maps.Values(h.objects)), node, h.store)
	addAll(out, "l ", set.Listeners)
	addAll(out, "c ", set.Clusters)
	addAll(out, "s ", set.Secrets)
	for _, a := range set.Endpoints {
		out["e "+a.GetClusterName()] = a
	}
	return out
}

func addAll[M interface {
	proto.Message
	GetName() string
}](out map[string]proto.Message, prefix string, list []M,
) {
	for _, m := range list {
		out[prefix+m.GetName()] = m
	}
}

// differs says what a client has that it should not have, or the other way round.
func (h *history) differs(client *adstest.Client, wanted map[string]proto.Message) string {
	types := map[string]string{"l ": resource.ListenerType, "c ": resource.ClusterType, "s ": resource.SecretType, "e ": resource.EndpointType}
	count := 0
	for name, m := range wanted {
		count++
		got := m.ProtoReflect().New().Interface()
		r := client.Resource(types[name[:2]], name[2:])
		if r == nil || r.GetResource().UnmarshalTo(got) != nil || !proto.Equal(m, got) {
			return fmt.Sprintf("%s: got %v, want %v", name, got, m)
		}
	}
	has := 0
	for prefix, typeURL := range types {
		for _, name := range client.Names(typeURL) {
			if has++; wanted[prefix+name] == nil {
				return "there is " + prefix + name
			}
		}
	}
	if has != count {
		return fmt.Sprintf("%d resources, want %d", has, count)
	}
	return ""
}

// TestRandomHistories: whatever happens in whatever order, in the end every node
// has exactly what a translation of the world as it is then gives it.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := &history{
				rig: newRig(t), random: rand.New(rand.NewPCG(seed, 1)), objects: map[string]mesh.Object{},
				namespaces: []string{"bank", "shop"}, clients: map[string]*adstest.Client{},
			}
			for _, ns := range h.namespaces {
				for i := range 3 {
					h.serviceOf(ns, i)
					h.secret(ns, fmt.Sprint("secret-", i), "password")
				}
			}
			for _, ns := range h.namespaces {
				for i := range 3 {
					h.relabel(ns, fmt.Sprint("web-", i))
				}
			}
			h.start()
			for range 30 {
				h.step()
			}
			for round := range 12 {
				h.connect()
				for range 10 {
					h.step()
				}
				h.agrees(fmt.Sprint("round ", round))
			}
		})
	}
}

// connect has a node come, or come again.
func (h *history) connect() {
	ns, pod := pick(h, h.namespaces...), fmt.Sprint("web-", h.random.IntN(3))
	if old := h.clients[ns+"/"+pod]; old != nil {
		old.Close()
	}
	c := h.dial(ns, pod)
	c.Subscribe(server.ListenerType)
	c.Subscribe(server.ClusterType)
	var clusters, secrets []string
	for i := range 5 {
		clusters = append(clusters, fmt.Sprintf("%s/o%d/dev", ns, i), fmt.Sprintf("%s/o%d/prod", ns, i))
		secrets = append(secrets, fmt.Sprintf("%s/secret-%d", ns, i))
	}
	c.Subscribe(server.EndpointType, clusters...)
	c.Subscribe(server.SecretType, secrets...)
	h.clients[ns+"/"+pod] = c
}

func (h *history) agrees(when string) {
	h.t.Helper()
	for who, c := range h.clients {
		ns, pod, _ := strings.Cut(who, "/")
		wanted := h.wanted(ns, pod)
		deadline := time.After(adstest.Deadline)
		tick := time.NewTicker(2 * time.Millisecond)
		for h.differs(c, wanted) != "" {
			select {
			case <-tick.C:
			case <-deadline:
				h.t.Fatalf("%s, %s: %s", when, who, h.differs(c, wanted))
			}
		}
		tick.Stop()
	}
}
