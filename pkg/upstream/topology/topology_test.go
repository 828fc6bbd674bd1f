package topology_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/topology"
)

// reply makes a value of nested lists, strings, ints and nil.
func reply(t testing.TB, x any) redisproto.Value {
	t.Helper()
	lim := redisproto.DefaultLimits()
	v, _, err := redisproto.ParseValue(encode(nil, x), &lim)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

type list = []any

func encode(b []byte, x any) []byte {
	switch x := x.(type) {
	case nil:
		return redisproto.AppendNull(b, 2)
	case int:
		return redisproto.AppendInt(b, int64(x))
	case string:
		return redisproto.AppendBulkString(b, x)
	case list:
		b = redisproto.AppendArray(b, len(x))
		for _, e := range x {
			b = encode(b, e)
		}
		return b
	}
	panic("unknown kind of element")
}

func TestParseSlots(t *testing.T) {
	t.Parallel()
	got, err := topology.ParseSlots(reply(t, list{
		list{0, 99, list{"10.0.0.1", 6379, "a"}, list{"10.0.0.2", 6380, "b", list{"hostname", "h"}}},
		list{100, 199, list{"", 6381, "c"}},
		list{200, 299, list{"10.0.0.1", 6379, "a"}, list{"10.0.0.2", 6380, "b"}},
		list{300, 16383, list{nil, 6382, "d"}, list{"?", 6383, "e"}, list{"2001:db8::1", 6384, "f"}, list{"redis-6.example", 6385, "g"}},
	}), "seed")
	if err != nil {
		t.Fatal(err)
	}
	want := []topology.Shard{
		{
			Primary:  topology.Node{Host: "10.0.0.1", Port: 6379, ID: "a"},
			Replicas: []topology.Node{{Host: "10.0.0.2", Port: 6380, ID: "b"}},
			Ranges:   []topology.Range{{First: 0, Last: 99}, {First: 200, Last: 299}},
		},
		{Primary: topology.Node{Host: "seed", Port: 6381, ID: "c"}, Ranges: []topology.Range{{First: 100, Last: 199}}},
		{
			Primary: topology.Node{Host: "seed", Port: 6382, ID: "d"},
			Replicas: []topology.Node{
				{Host: "seed", Port: 6383, ID: "e"},
				{Host: "2001:db8::1", Port: 6384, ID: "f"},
				{Host: "redis-6.example", Port: 6385, ID: "g"},
			},
			Ranges: []topology.Range{{First: 300, Last: 16383}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got, want := got[2].Replicas[1].Address(), "[2001:db8::1]:6384"; got != want {
		t.Errorf("Address() = %q, want %q", got, want)
	}
}

func TestParseSlotsRefuses(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]any{
		"no list":           "x",
		"short entry":       list{list{0, 1}},
		"slot out of range": list{list{0, 16384, list{"h", 1, "a"}}},
		"range reversed":    list{list{5, 4, list{"h", 1, "a"}}},
		"port 0":            list{list{0, 1, list{"h", 0, "a"}}},
		"node without port": list{list{0, 1, list{"h"}}},
		"node is no list":   list{list{0, 1, "h"}},
		"host of no text":   list{list{0, 1, list{"h\xff", 1, "a"}}},
		"host of two lines": list{list{0, 1, list{"h\nh", 1, "a"}}},
	} {
		if _, err := topology.ParseSlots(reply(t, in), "seed"); !errors.Is(err, topology.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func shardNode(id, endpoint any, role, health string) list {
	return list{
		"id", id, "port", 6379, "tls-port", 6380, "ip", "10.0.0.9", "endpoint", endpoint,
		"role", role, "replication-offset", 1, "health", health,
	}
}

func TestParseShards(t *testing.T) {
	t.Parallel()
	in := reply(t, list{
		list{"slots", list{0, 5, 7, 9}, "nodes", list{
			shardNode("r", "10.0.0.2", "replica", "online"),
			shardNode("p", "10.0.0.1", "master", "online"),
			shardNode("x", "10.0.0.3", "replica", "fail"),
			shardNode("l", "10.0.0.4", "replica", "loading"),
		}},
		list{"slots", list{}, "nodes", list{shardNode("empty", "10.0.0.5", "master", "online")}},
		list{"slots", list{10, 11}, "nodes", list{shardNode("dead", "10.0.0.6", "master", "fail")}},
		list{"slots", list{12, 12}, "nodes", list{shardNode("n", nil, "master", "online")}},
	})
	for tls, port := range map[bool]int{false: 6379, true: 6380} {
		got, err := topology.ParseShards(in, "seed", tls)
		if err != nil {
			t.Fatal(err)
		}
		want := []topology.Shard{
			{
				Primary:  topology.Node{Host: "10.0.0.1", Port: port, ID: "p"},
				Replicas: []topology.Node{{Host: "10.0.0.2", Port: port, ID: "r"}},
				Ranges:   []topology.Range{{First: 0, Last: 5}, {First: 7, Last: 9}},
			},
			{Primary: topology.Node{Host: "seed", Port: port, ID: "n"}, Ranges: []topology.Range{{First: 12, Last: 12}}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("tls %v: -want +got:\n%s", tls, diff)
		}
		spare := []topology.Node{{Host: "10.0.0.5", Port: port, ID: "empty"}}
		if diff := cmp.Diff(spare, topology.ParseSpare(in, "seed", tls)); diff != "" {
			t.Errorf("without slots, tls %v: -want +got:\n%s", tls, diff)
		}
	}
}

func TestParseShardsRefuses(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"h\xff", "h h", "ho\x00st"} {
		in := reply(t, list{list{"slots", list{0, 5}, "nodes", list{shardNode("p", host, "master", "online")}}})
		if _, err := topology.ParseShards(in, "seed", false); !errors.Is(err, topology.ErrMalformed) {
			t.Errorf("%q: %v", host, err)
		}
		if spare := topology.ParseSpare(in, "seed", false); len(spare) > 0 {
			t.Errorf("%q: %v", host, spare)
		}
	}
}

func TestParseRole(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   any
		want topology.Role
		err  error
	}{
		{name: "primary", in: list{"master", 42, list{list{"10.0.0.2", "6379", "40"}}}, want: topology.Role{Primary: true, Replicas: 1, Offset: 42}},
		{name: "replica", in: list{"slave", "10.0.0.1", 6379, "connected", 7}, want: topology.Role{Offset: 7, Of: topology.Node{Host: "10.0.0.1", Port: 6379}}},
		{name: "sentinel", in: list{"sentinel", list{"m"}}, err: topology.ErrMalformed},
		{name: "no list", in: "master", err: topology.ErrMalformed},
	}
	for _, tc := range tests {
		got, err := topology.ParseRole(reply(t, tc.in))
		if !errors.Is(err, tc.err) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tc.name, diff)
		}
	}
}

func TestSentinelReplies(t *testing.T) {
	t.Parallel()
	n, err := topology.ParseMasterAddr(reply(t, list{"10.0.0.1", "6379"}))
	if want := (topology.Node{Host: "10.0.0.1", Port: 6379}); err != nil || n != want {
		t.Errorf("ParseMasterAddr = %v, %v", n, err)
	}
	if _, err := topology.ParseMasterAddr(reply(t, nil)); !errors.Is(err, topology.ErrUnknownMaster) {
		t.Errorf("ParseMasterAddr of null: %v", err)
	}
	replica := func(host, flags, role string) list {
		return list{"name", "x", "ip", host, "port", "6379", "flags", flags, "role-reported", role}
	}
	got, settled, err := topology.ParseReplicas(reply(t, list{
		replica("10.0.0.2", "slave", "slave"), replica("10.0.0.3", "s_down,slave", "slave"),
	}))
	if diff := cmp.Diff([]topology.Node{{Host: "10.0.0.2", Port: 6379}}, got); diff != "" || !settled || err != nil {
		t.Errorf("ParseReplicas: %v, %v, -want +got:\n%s", settled, err, diff)
	}
	got, settled, err = topology.ParseReplicas(reply(t, list{
		replica("10.0.0.4", "slave,disconnected", "slave"), replica("10.0.0.5", "slave", "master"),
	}))
	if diff := cmp.Diff([]topology.Node{{Host: "10.0.0.4", Port: 6379}}, got); diff != "" || settled || err != nil {
		t.Errorf("ParseReplicas in a failover: %v, %v, -want +got:\n%s", settled, err, diff)
	}
	n, epoch, err := topology.ParseMaster(reply(t, list{"name", "m", "ip", "10.0.0.1", "port", "6379", "config-epoch", "7"}))
	if want := (topology.Node{Host: "10.0.0.1", Port: 6379}); err != nil || n != want || epoch != 7 {
		t.Errorf("ParseMaster = %v, %d, %v", n, epoch, err)
	}
	if _, _, err := topology.ParseMaster(reply(t, list{"name", "m"})); !errors.Is(err, topology.ErrMalformed) {
		t.Errorf("ParseMaster without an address: %v", err)
	}
	channel, payload, ok := topology.ParseMessage(reply(t, list{"message", "+switch-master", "m 10.0.0.1 6379 10.0.0.2 6380"}))
	if !ok || channel != "+switch-master" || payload != "m 10.0.0.1 6379 10.0.0.2 6380" {
		t.Errorf("ParseMessage = %q, %q, %v", channel, payload, ok)
	}
	if _, _, ok := topology.ParseMessage(reply(t, list{"subscribe", "+switch-master", 1})); ok {
		t.Error("a confirmation is taken for a message")
	}
}

// FuzzParse asserts that no reply makes a parser panic, and that what CLUSTER
// SLOTS is accepted survives being written and read again.
func FuzzParse(f *testing.F) {
	f.Add(encode(nil, list{list{0, 16383, list{"h", 1, "a"}, list{"::1", 2, "b"}}}))
	f.Add(encode(nil, list{list{"slots", list{0, 1}, "nodes", list{shardNode("a", "h", "master", "online")}}}))
	f.Add(encode(nil, list{"master", 1, list{}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		lim := redisproto.DefaultLimits()
		v, _, err := redisproto.ParseValue(b, &lim)
		if err != nil {
			return
		}
		_, _ = topology.ParseShards(v, "seed", true)
		_ = topology.ParseSpare(v, "seed", false)
		_, _ = topology.ParseRole(v)
		_, _ = topology.ParseMasterAddr(v)
		_, _, _ = topology.ParseReplicas(v)
		_, _, _ = topology.ParseMaster(v)
		_, _, _ = topology.ParseMessage(v)
		shards, err := topology.ParseSlots(v, "seed")
		if err != nil {
			return
		}
		again, err := topology.ParseSlots(reply(t, slotsReply(shards)), "seed")
		if err != nil {
			t.Fatalf("written again: %v", err)
		}
		if diff := cmp.Diff(strip(shards), strip(again)); diff != "" {
			t.Errorf("-first +again:\n%s", diff)
		}
	})
}

func slotsReply(shards []topology.Shard) list {
	out := list{}
	for _, s := range shards {
		for _, r := range s.Ranges {
			entry := list{r.First, r.Last, list{s.Primary.Host, s.Primary.Port, s.Primary.ID}}
			for _, n := range s.Replicas {
				entry = append(entry, list{n.Host, strconv.Itoa(n.Port), n.ID})
			}
			out = append(out, entry)
		}
	}
	return out
}

// strip drops what the written form does not carry.
func strip(shards []topology.Shard) []topology.Shard {
	for i := range shards {
		shards[i].Primary.Zone = ""
		for j := range shards[i].Replicas {
			shards[i].Replicas[j].Zone = ""
		}
	}
	return shards
}

func TestErrorsSayWhat(t *testing.T) {
	t.Parallel()
	_, err := topology.ParseRole(reply(t, "x"))
	if err == nil || !strings.Contains(err.Error(), "ROLE") {
		t.Errorf("error %v does not name ROLE", err)
	}
}
