package proxy_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
)

// surroundings are Services that a test changes, and what is published of them.
type surroundings struct {
	t       *testing.T
	foreign *foreign
	objs    []mesh.Object
	world   *inventory.Store
}

func startSurroundings(t *testing.T, document string) *surroundings {
	t.Helper()
	objs, wrong := mesh.Decode("test", []byte(document), mesh.InCluster())
	if err := wrong.Err(); err != nil {
		t.Fatal(err)
	}
	return &surroundings{t, startForeign(t), objs, inventory.NewStore()}
}

// service puts a Service with these endpoints in place.
func (s *surroundings) service(name string, endpoints ...inventory.Endpoint) {
	key := inventory.Key{Namespace: "default", Name: name}
	inventory.Put(s.world, inventory.Ref{Kind: inventory.KindService, Key: key}, &inventory.Service{
		Key: key, Ports: []inventory.ServicePort{{Name: "redis", Port: 6379}}, Endpoints: endpoints,
	}, time.Now())
}

// pod is an endpoint that is ready.
func pod(name string, node *redistest.Node) inventory.Endpoint {
	return inventory.Endpoint{
		Address: "127.0.0.1", Ports: map[string]uint32{"redis": uint32(node.Port())}, Ready: true, Serving: true,
		Pod: name, Hostname: name, Labels: map[string]string{"app": "redis"},
	}
}

func (s *surroundings) publish() {
	s.t.Helper()
	set, conditions := translate.Translate(s.objs, translate.Node{Facts: mesh.NodeFacts{Flag: "test"}}, s.world)
	for _, c := range conditions {
		if !c.Status {
			s.t.Fatal(c.Message)
		}
	}
	s.foreign.publish(&set)
}

// keysAt sets some keys, and lists those that a server got.
func keysAt(c *redistest.Client, node *redistest.Node) []string {
	var keys []string
	for i := range 100 {
		key := fmt.Sprintf("key:%d", i)
		c.Do("SET", key, "v")
		if node.Do("EXISTS", key) == ":1\r\n" {
			keys = append(keys, key)
		}
	}
	return keys
}

// TestShardWithoutEndpoints: while the Service of a shard, or a pod that is one,
// has no endpoints, its keys get errors and go to no other shard; then they go
// where its new endpoint is.
func TestShardWithoutEndpoints(t *testing.T) {
	t.Parallel()
	for name, environment := range map[string]string{
		"services": "test: {shards: [{name: redis-0, primary: {service: {name: redis-0, port: 6379}}}, {name: redis-1, primary: {service: {name: redis-1, port: 6379}}}]}",
		"pods":     "test: {shardsFrom: {service: {name: redis, port: 6379}, names: [redis-0, redis-1]}}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b, moved := redistest.Server(t), redistest.Server(t), redistest.Server(t)
			port := redistest.Port(t)
			s := startSurroundings(t, ambassador("cache", port, environment))
			place := func(first []inventory.Endpoint, second ...inventory.Endpoint) {
				s.service("redis-0", first...)
				s.service("redis-1", second...)
				s.service("redis", slices.Concat(first, second)...)
				s.publish()
			}
			first := []inventory.Endpoint{pod("redis-0", a)}
			place(first, pod("redis-1", b))
			r := start(t, "", s.foreign.options())
			client := redistest.Dial(t, local(port))
			atA, atB := keysAt(client, a), keysAt(client, b)
			if len(atA) == 0 || len(atB) == 0 || len(atA)+len(atB) != 100 {
				t.Fatalf("%d and %d keys", len(atA), len(atB))
			}

			place(first)
			r.eventually("keys of the empty shard to be refused", func() error {
				if got := client.Do("GET", atB[0]); !strings.HasPrefix(got, "-") {
					return errors.New(got)
				}
				return nil
			})
			for _, key := range atB {
				if got := client.Do("SET", key, "v"); !strings.HasPrefix(got, "-") || a.Do("EXISTS", key) != ":0\r\n" {
					t.Errorf("%s: %q", key, got)
				}
			}
			for _, key := range atA {
				if got := client.Do("GET", key); got != bulk("v") {
					t.Errorf("%s: %q", key, got)
				}
			}

			place(first, pod("redis-1", moved))
			r.eventually("keys to go to the new endpoint", func() error {
				if got := client.Do("SET", atB[0], "v"); got != "+OK\r\n" {
					return errors.New(got)
				}
				return nil
			})
			if got := len(keysAt(client, moved)); got != len(atB) {
				t.Errorf("%d of %d keys", got, len(atB))
			}
		})
	}
}

// TestPodsSayTheirRole: the pods of a Service are one shard, of which ROLE says
// the primary, also after another one has been promoted.
func TestPodsSayTheirRole(t *testing.T) {
	t.Parallel()
	first := redistest.Server(t)
	second := redistest.Server(t, redistest.WithReplicaOf(first))
	port := redistest.Port(t)
	s := startSurroundings(t, ambassador("cache", port, "test: {shardsFrom: {service: {name: redis, port: 6379}, shardLabel: app}}"))
	s.service("redis", pod("redis-0", second), pod("redis-1", first))
	s.publish()
	r := start(t, "", s.foreign.options())
	client := redistest.Dial(t, local(port))
	writesTo := func(node *redistest.Node, value string) {
		t.Helper()
		r.eventually("writes to go to the primary", func() error {
			if got := client.Do("SET", "k", value); got != "+OK\r\n" {
				return errors.New(got)
			}
			if got := node.Do("GET", "k"); got != bulk(value) {
				return errors.New(got)
			}
			return nil
		})
	}
	writesTo(first, "1")
	second.Do("REPLICAOF", "NO", "ONE")
	first.Do("REPLICAOF", "127.0.0.1", fmt.Sprint(second.Port()))
	writesTo(second, "2")
}
