package redis

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// notify has servers tell of what becomes of their keys.
func notify(nodes []*redistest.Node) {
	for _, n := range nodes {
		n.Do("CONFIG", "SET", "notify-keyspace-events", "KEA")
	}
}

// Notifications of all shards reach a subscriber, once.
func TestNotifications(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	notify(f.nodes)
	keys := f.onEach("k")
	events, patterns, one, c := f.dial(), f.dial(), f.dial(), f.dial()
	space := "__keyspace@0__:" + keys[2]
	check(t, events, "SUBSCRIBE __keyevent@0__:set", "*3 $9 subscribe $18 __keyevent@0__:set :1")
	check(t, patterns, "PSUBSCRIBE __key*@0__:set", "*3 $10 psubscribe $14 __key*@0__:set :1")
	check(t, one, "SUBSCRIBE "+space, fmt.Sprintf("*3 $9 subscribe $%d %s :1", len(space), space))
	var want, wantPatterns []string
	for _, k := range keys {
		check(t, c, "SET "+k+" v", "+OK")
		want = append(want, message("message", "__keyevent@0__:set", k))
		wantPatterns = append(wantPatterns, message("pmessage", "__key*@0__:set", "__keyevent@0__:set", k))
	}
	slices.Sort(want)
	slices.Sort(wantPatterns)
	if got := heard(events, 4); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := heard(patterns, 4); !slices.Equal(got, wantPatterns) {
		t.Errorf("got %q, want %q", got, wantPatterns)
	}
	if got, want := one.ReadFrame(), message("message", space, "set"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	check(t, events, "UNSUBSCRIBE", "*3 $11 unsubscribe $18 __keyevent@0__:set :0", "GET "+keys[0], "$1 v")
	check(t, patterns, "PUNSUBSCRIBE", "*3 $12 punsubscribe $14 __key*@0__:set :0")
	check(t, one, "UNSUBSCRIBE", fmt.Sprintf("*3 $11 unsubscribe $%d %s :0", len(space), space))
	f.unpinned()
	// a subscription that one shard refuses does not stay on the others
	f.nodes[3].Kill()
	wantPrefix(t, "SUBSCRIBE", events.Do("SUBSCRIBE", "__keyevent@0__:set"), "-ERR dragoman: ")
	eventually(t, "no subscription to be left", func() error {
		for _, n := range f.nodes[:3] {
			if got := n.Do("PUBSUB", "CHANNELS"); got != "*0\r\n" {
				return fmt.Errorf("%q", got)
			}
		}
		return nil
	})
}

// The nodes of a Redis Cluster do not tell each other of their keys.
func TestClusterNotifications(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	notify(f.nodes)
	events, patterns, one, c := f.dial(), f.dial(), f.dial(), f.dial()
	keys := []string{f.keyIn(0, "k"), f.keyIn(1, "k"), f.keyIn(2, "k")}
	events.Do("SUBSCRIBE", "__keyevent@0__:set")
	patterns.Do("PSUBSCRIBE", "__keyevent*set")
	one.Do("SUBSCRIBE", "__keyspace@0__:"+keys[1])
	var want []string
	for _, k := range keys {
		check(t, c, "SET "+k+" v", "+OK")
		want = append(want, message("message", "__keyevent@0__:set", k))
	}
	slices.Sort(want)
	if got := heard(events, 3); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	heard(patterns, 3)
	if got, want := one.ReadFrame(), message("message", "__keyspace@0__:"+keys[1], "set"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSourceOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind int
		name string
		from source
		key  string
	}{
		{byChannel, "news", fromAnywhere, ""},
		{byChannel, "__keyevent@0__:expired", fromAll, ""},
		{byChannel, "__keyspace@12__:a__:b@c", fromKey, "a__:b@c"},
		{byChannel, "__keyspace@0__:", fromKey, ""},
		{byChannel, "__keyspace", fromAnywhere, ""},
		{byChannel, "__keyring@0__:x", fromAnywhere, ""},
		{byPattern, "__key*", fromAll, ""},
		{byPattern, "__keyspace@0__:user:*", fromAll, ""},
		{byPattern, "*", fromAnywhere, ""},
		{byShardChannel, "__keyevent@0__:expired", fromAnywhere, ""},
	}
	for _, tt := range tests {
		if from, key := sourceOf(tt.kind, tt.name); from != tt.from || key != tt.key {
			t.Errorf("%s: %d of %q", tt.name, from, key)
		}
	}
}
