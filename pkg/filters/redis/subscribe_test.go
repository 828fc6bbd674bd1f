package redis

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// Many names in one request take little memory, and are acknowledged in their order.
func TestManySubscriptions(t *testing.T) {
	const names = 50_000
	f := fourShards(t, nil)
	sub := f.dial()
	sub.Timeout = 2 * time.Minute
	args := []string{"SUBSCRIBE"}
	for i := range names {
		args = append(args, fmt.Sprint("channel:", i))
	}
	heap, _ := f.during(func() {
		go func() { _ = sub.TrySend(redistest.Command(args...)) }()
		for i := range names {
			name := args[i+1]
			if got, want := sub.ReadFrame(), fmt.Sprintf("*3\r\n$9\r\nsubscribe\r\n%s:%d\r\n", bulk(name), i+1); got != want {
				t.Errorf("got %q, want %q", got, want)
				return
			}
		}
	})
	t.Logf("%d bytes for each", heap/names)
	if heap > 500*names {
		t.Errorf("the heap grew by %d bytes for each name", heap/names)
	}
	check(t, f.dial(), "PUBLISH channel:7 hello", ":1")
	if got, want := sub.ReadFrame(), message("message", "channel:7", "hello"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	sub.Send(redistest.Command("UNSUBSCRIBE") + redistest.Command("GET", "k"))
	gone := map[string]bool{}
	for i := range names {
		got := sub.ReadFrame()
		if gone[got] = true; len(gone) != i+1 {
			t.Fatalf("twice: %q", got)
		}
	}
	if got := sub.ReadFrame(); got != "$-1\r\n" {
		t.Errorf("GET: %q", got)
	}
	f.unpinned()
}

// A request with more names than may be in flight is gone on with where it was left.
func TestSubscriptionsInSmallParts(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	cfg.Limits.MaxPipeline = 2
	f := start(t, cfg, newCluster("main", servers(t, 2)...))
	sub := f.dial()
	sub.Send(redistest.Command("PSUBSCRIBE", "a*") + redistest.Command("SUBSCRIBE", "a", "b", "a", "c", "b", "d", "e") +
		redistest.Command("UNSUBSCRIBE", "a", "x", "b", "c") + redistest.Command("UNSUBSCRIBE") + redistest.Command("UNSUBSCRIBE") +
		redistest.Command("PUNSUBSCRIBE") + redistest.Command("PING"))
	acks := func(verb string, pairs ...any) {
		t.Helper()
		for i := 0; i < len(pairs); i += 2 {
			name, _ := pairs[i].(string)
			want := fmt.Sprintf("*3\r\n%s%s:%d\r\n", bulk(verb), bulk(name), pairs[i+1])
			if name == "" {
				want = fmt.Sprintf("*3\r\n%s$-1\r\n:%d\r\n", bulk(verb), pairs[i+1])
			}
			if got := sub.ReadFrame(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	acks("psubscribe", "a*", 1)
	acks("subscribe", "a", 2, "b", 3, "a", 3, "c", 4, "b", 4, "d", 5, "e", 6)
	acks("unsubscribe", "a", 5, "x", 5, "b", 4, "c", 3)
	sub.ReadFrame() // d and e, in either order
	sub.ReadFrame()
	acks("unsubscribe", "", 1)
	acks("punsubscribe", "a*", 0)
	if got := sub.ReadFrame(); got != "+PONG\r\n" {
		t.Errorf("got %q", got)
	}
	f.unpinned()
}

func TestTooManySubscriptions(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	f.onLoop(func(w *worker) { w.local(f.filter).maxSubscriptions = 3 })
	sub := f.dial()
	sub.Send(redistest.Command("SUBSCRIBE", "a", "b", "c", "d", "a"))
	for i, name := range []string{"a", "b", "c", "d", "a"} {
		want := fmt.Sprintf("*3\r\n$9\r\nsubscribe\r\n$1\r\n%s\r\n:%d\r\n", name, min(i+1, 3))
		if name == "d" {
			want = "-" + errSubscriptions + "\r\n"
		}
		if got := sub.ReadFrame(); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	check(t, sub, "UNSUBSCRIBE b", "*3 $11 unsubscribe $1 b :2", "SUBSCRIBE d", "*3 $9 subscribe $1 d :3")
	f.quiet()
}

// A shard channel is subscribed to where its slot is, also if that is news. The node
// that loses the slot ends the subscription, and most clients subscribe anew at once.
func TestShardChannelMoves(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	for _, resp := range []string{"2", "3"} {
		sub, pub := f.dial(), f.dial()
		sub.Do("HELLO", resp)
		key, other := f.keyIn(0, "k"+resp), f.keyIn(0, "o"+resp)
		slot := redistest.KeySlot(key)
		kind := map[string]string{"2": "*", "3": ">"}[resp]
		subscribed := func(verb, name string, n int) string {
			return fmt.Sprintf("%s3\r\n%s%s:%d\r\n", kind, bulk(verb), bulk(name), n)
		}
		want := func(frame string) {
			t.Helper()
			if got := sub.ReadFrame(); got != frame {
				t.Errorf("got %q, want %q", got, frame)
			}
		}
		sub.Send(redistest.Command("SSUBSCRIBE", key, other))
		want(subscribed("ssubscribe", key, 1))
		want(subscribed("ssubscribe", other, 2))
		f.rc.MoveSlot(slot, f.nodes[0], f.nodes[1], func(redistest.MoveStep) {})
		want(subscribed("sunsubscribe", key, 1))
		sub.Send(redistest.Command("SSUBSCRIBE", key)) // the table still has the slot at the first node
		want(subscribed("ssubscribe", key, 2))
		check(t, pub, "SPUBLISH "+key+" one", ":1", "SPUBLISH "+other+" two", ":1")
		heard := []string{sub.ReadFrame(), sub.ReadFrame()}
		slices.Sort(heard)
		for i, words := range [][]string{{"smessage", key, "one"}, {"smessage", other, "two"}} {
			if frame := kind + redistest.Command(words...)[1:]; heard[i] != frame {
				t.Errorf("got %q, want %q", heard[i], frame)
			}
		}
		sub.Send(redistest.Command("SUNSUBSCRIBE", key) + redistest.Command("SUNSUBSCRIBE", other))
		want(subscribed("sunsubscribe", key, 1))
		want(subscribed("sunsubscribe", other, 0))
		check(t, sub, "PING", "+PONG")
		f.quit(t, sub, pub)
	}
}

// One that has followed its slot to a node which the table did not have yet stays when it
// does.
func TestShardChannelAtNewNode(t *testing.T) {
	t.Parallel()
	s := newStage(newCommandTable(), "shards: 2\nslots: yes")
	s.build(t)
	s.play(t, "c > SSUBSCRIBE a1", "s1 < PING", "s1 < ssubscribe a1", "s1 > +PONG", `s1 > "-MOVED 7785 10.0.0.1:s3\r\n"`,
		"s3 < PING", "s3 < ssubscribe a1", "s3 > +PONG", "s3 > *3 $10 ssubscribe $2 a1 :1", "c < *3 $10 ssubscribe $2 a1 :1")
	main := s.filter.catchAll.cluster.(*cluster)
	table := *main.Table()
	table.Version++
	table.Shards = append(slices.Clone(table.Shards), filters.Shard{Name: "s3", Primary: endpointOf("10.0.0.1:s3", "s3")})
	slots := *table.Slots
	slots[redisproto.Slot([]byte("a1"))] = 2
	table.Slots = &slots
	main.table.Store(&table)
	s.play(t, "wait 3s", "s3 > *3 $8 smessage $2 a1 $1 m", "c < *3 $8 smessage $2 a1 $1 m")
}
