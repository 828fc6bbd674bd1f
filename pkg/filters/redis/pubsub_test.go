package redis

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// heard reads n frames and returns them sorted, since messages of different
// shards come in any order.
func heard(c *redistest.Client, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = c.ReadFrame()
	}
	slices.Sort(list)
	return list
}

func message(args ...string) string { return redistest.Command(args...) }

func TestShardedPubSub(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	sub, pub := f.dial(), f.dial()
	ch := f.onEach("ch")
	sub.Send(redistest.Command(append([]string{"SUBSCRIBE"}, ch...)...))
	for i, name := range ch {
		if got, want := sub.ReadFrame(), fmt.Sprintf("*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:%d\r\n", len(name), name, i+1); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, name := range ch {
		check(t, pub, "PUBLISH "+name+" hello", ":1")
		if got, want := sub.ReadFrame(), message("message", name, "hello"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	check(t, pub, "PUBLISH nobody x", ":0", "PUBSUB NUMPAT", ":0",
		"PUBSUB NUMSUB "+ch[0]+" "+ch[1]+" nobody", fmt.Sprintf("*6 $%d %s :1 $%d %s :1 $6 nobody :0", len(ch[0]), ch[0], len(ch[1]), ch[1]))
	if got := bulks(t, pub.Do("PUBSUB", "CHANNELS")); len(got) != 4 {
		t.Errorf("PUBSUB CHANNELS: %q", got)
	}
	check(t, sub, "PSUBSCRIBE ch*", "*3 $10 psubscribe $3 ch* :5")
	check(t, pub, "PUBSUB NUMPAT", ":1")
	for _, name := range ch {
		check(t, pub, "PUBLISH "+name+" twice", ":2")
		want := []string{message("message", name, "twice"), message("pmessage", "ch*", name, "twice")}
		if got := heard(sub, 2); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	check(t, sub, "PUNSUBSCRIBE ch*", "*3 $12 punsubscribe $3 ch* :4")
	sub.Send(redistest.Command("UNSUBSCRIBE"))
	heard(sub, 4)
	check(t, sub, "GET x", "$-1")
	check(t, pub, "PUBLISH "+ch[0]+" x", ":0", "PUBSUB CHANNELS", "*0")
	f.unpinned()
}

func TestShardChannels(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	sub, pub := f.dial(), f.dial()
	ch := f.onEach("ch")
	for i, name := range ch {
		check(t, sub, "SSUBSCRIBE "+name, fmt.Sprintf("*3 $10 ssubscribe $%d %s :%d", len(name), name, i+1))
		check(t, pub, "SPUBLISH "+name+" hello", ":1", "PUBLISH "+name+" hello", ":0")
		if got, want := sub.ReadFrame(), message("smessage", name, "hello"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := f.calls("spublish"); !slices.Equal(got, []int{1, 1, 1, 1}) {
		t.Errorf("SPUBLISH was sent to %v", got)
	}
	check(t, pub, "PUBSUB SHARDNUMSUB "+ch[3], fmt.Sprintf("*2 $%d %s :1", len(ch[3]), ch[3]))
	if got := bulks(t, pub.Do("PUBSUB", "SHARDCHANNELS")); len(got) != 4 {
		t.Errorf("PUBSUB SHARDCHANNELS: %q", got)
	}
	check(t, sub, "SUBSCRIBE other", "*3 $9 subscribe $5 other :1", "SUNSUBSCRIBE "+ch[0], fmt.Sprintf("*3 $12 sunsubscribe $%d %s :3", len(ch[0]), ch[0]))
	sub.Close()
	f.unpinned()
	check(t, pub, "PUBSUB SHARDCHANNELS", "*0", "PUBSUB CHANNELS", "*0")
}

func TestSubscribedInRESP3(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	sub, pub := f.dial(), f.dial()
	ch := f.onEach("ch")
	sub.Do("HELLO", "3")
	check(t, sub, "SUBSCRIBE "+ch[0], fmt.Sprintf(">3 $9 subscribe $%d %s :1", len(ch[0]), ch[0]))
	for i, name := range ch {
		// neither the database nor the protocol belongs to a subscription
		check(t, sub, fmt.Sprintf("SELECT %d", i), "+OK", "SET k 1", "+OK",
			"PSUBSCRIBE p*", fmt.Sprintf(">3 $10 psubscribe $2 p* :%d", max(i, 1)+1),
			"PUNSUBSCRIBE p*", fmt.Sprintf(">3 $12 punsubscribe $2 p* :%d", max(i, 1)))
		if i > 0 {
			check(t, sub, "SUBSCRIBE "+name, fmt.Sprintf(">3 $9 subscribe $%d %s :%d", len(name), name, i+1))
		}
	}
	sub.Do("HELLO", "2")
	check(t, sub, "UNSUBSCRIBE "+ch[0], fmt.Sprintf("*3 $11 unsubscribe $%d %s :3", len(ch[0]), ch[0]))
	check(t, pub, "PUBLISH "+ch[0]+" x", ":0", "PUBLISH "+ch[1]+" x", ":1")
	if got, want := sub.ReadFrame(), message("message", ch[1], "x"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	sub.Close()
	f.unpinned()
}

func TestSubscribeToADeadShard(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	sub, pub := f.dial(), f.dial()
	ch := f.onEach("ch")
	f.nodes[1].Kill()
	check(t, sub, "SUBSCRIBE "+ch[0], fmt.Sprintf("*3 $9 subscribe $%d %s :1", len(ch[0]), ch[0]))
	for _, request := range []string{"SUBSCRIBE " + ch[1], "PSUBSCRIBE p*"} {
		if got := sub.Do(words(request)...); len(got) < 20 || got[:14] != "-ERR dragoman:" {
			t.Errorf("%s: %q", request, got)
		}
	}
	// the refused pattern has not stayed on the other shards
	redistest.Eventually(t, 5*time.Second, "the pattern to be gone", func() error {
		for _, i := range []int{0, 2, 3} {
			if got := f.nodes[i].Do("PUBSUB", "NUMPAT"); got != ":0\r\n" {
				return fmt.Errorf("shard %d: %q", i, got)
			}
		}
		return nil
	})
	check(t, pub, "PUBLISH "+ch[0]+" x", ":1")
	if got, want := sub.ReadFrame(), message("message", ch[0], "x"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	check(t, sub, "PING", "*2 $4 pong $0 ")
	// a server that goes away takes its subscribers with it: they may have missed something
	f.nodes[0].Kill()
	if got, err := sub.TryReadFrame(); err == nil {
		t.Errorf("got %q, want the end", got)
	}
	f.unpinned()
}

func TestPubSubFollowsTheShards(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 4)
	main := newCluster("main", nodes[:2]...)
	f := start(t, defaults(), main)
	channel, pattern, stays := f.dial(), f.dial(), f.dial()
	four := newCluster("main", nodes...).Table()
	moved, kept := "", ""
	for i := 0; moved == "" || kept == ""; i++ {
		name := fmt.Sprintf("ch%d", i)
		if before, after := main.Table().Picker.Pick([]byte(name)), four.Picker.Pick([]byte(name)); before == after {
			kept = name
		} else {
			moved = name
		}
	}
	channel.Do("SUBSCRIBE", moved)
	pattern.Do("PSUBSCRIBE", "*")
	stays.Do("SUBSCRIBE", kept)
	copy(four.Shards, main.Table().Shards) // the endpoints stay the same
	four.Version = 2
	main.table.Store(four)
	for _, c := range []*redistest.Client{channel, pattern} {
		if got, err := c.TryReadFrame(); err == nil {
			t.Errorf("got %q, want the end", got)
		}
	}
	stays.Send(redistest.Command("PING"))
	if got := stays.ReadFrame(); got != "*2\r\n$4\r\npong\r\n$0\r\n\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestMessagesFollowTheirAcknowledgement(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	sub, pub := f.dial(), f.dial()
	ch := f.onEach("ch")
	for i := range 20 {
		name := ch[i%4]
		// An earlier reply is late: neither the acknowledgement nor the message may overtake it.
		sub.Send(redistest.Command("UNSUBSCRIBE", "x") + redistest.Command("SUBSCRIBE", name))
		redistest.Eventually(t, 5*time.Second, "the subscription", func() error {
			if got := pub.Do("PUBLISH", name, "x"); got != ":1\r\n" {
				return fmt.Errorf("got %q", got)
			}
			return nil
		})
		sub.ReadFrame()
		if got, want := sub.ReadFrame(), fmt.Sprintf("*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n", len(name), name); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		if got, want := sub.ReadFrame(), message("message", name, "x"); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		sub.Do("UNSUBSCRIBE", name)
	}
}
