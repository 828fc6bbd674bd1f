package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

func TestRueidis(t *testing.T) {
	t.Parallel()
	onEachTopology(t, func(t *testing.T, addr string) {
		for _, resp2 := range []bool{false, true} {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true, AlwaysRESP2: resp2})
			if err != nil {
				t.Fatalf("RESP2 %t: %v", resp2, err)
			}
			defer client.Close()
			rueidisKeys(ctx, t, client)
			rueidisDedicated(ctx, t, client)
			// A channel each: a client that stops to receive may be subscribed a little longer.
			rueidisPubSub(ctx, t, client, fmt.Sprintf("news with RESP2 %t", resp2))
		}
	})
}

// rueidisKeys sends many commands at once: rueidis pipelines them on one connection by itself.
func rueidisKeys(ctx context.Context, t *testing.T, client rueidis.Client) {
	t.Helper()
	var sets, gets rueidis.Commands
	for i := range 1000 {
		key := fmt.Sprint("key:", i)
		sets = append(sets, client.B().Set().Key(key).Value(key).Build())
		gets = append(gets, client.B().Get().Key(key).Build())
	}
	for i, r := range client.DoMulti(ctx, sets...) {
		if err := r.Error(); err != nil {
			t.Fatalf("SET %d: %v", i, err)
		}
	}
	for i, r := range client.DoMulti(ctx, gets...) {
		if got, err := r.ToString(); err != nil || got != fmt.Sprint("key:", i) {
			t.Fatalf("GET %d: got %q, %v", i, got, err)
		}
	}
	values, err := rueidis.MGet(client, ctx, []string{"key:1", "key:2", "key:3", "missing"})
	if err != nil || len(values) != 4 {
		t.Errorf("MGET: got %d values, %v", len(values), err)
	}
	err = client.Do(ctx, client.B().Get().Key("missing").Build()).Error()
	if !rueidis.IsRedisNil(err) {
		t.Errorf("GET of a missing key: got %v", err)
	}
	client.Do(ctx, client.B().Del().Key("hash").Build())
	client.Do(ctx, client.B().Hset().Key("hash").FieldValue().FieldValue("a", "1").FieldValue("b", "2").Build())
	hash, err := client.Do(ctx, client.B().Hgetall().Key("hash").Build()).AsStrMap()
	if err != nil || hash["a"] != "1" || hash["b"] != "2" {
		t.Errorf("HGETALL: got %v, %v", hash, err)
	}
}

func rueidisDedicated(ctx context.Context, t *testing.T, client rueidis.Client) {
	t.Helper()
	err := client.Dedicated(func(c rueidis.DedicatedClient) error {
		for i, r := range c.DoMulti(ctx,
			c.B().Watch().Key("{d}a").Build(),
			c.B().Multi().Build(),
			c.B().Set().Key("{d}a").Value("1").Build(),
			c.B().Get().Key("{d}a").Build(),
			c.B().Exec().Build()) {
			if err := r.Error(); err != nil {
				return fmt.Errorf("command %d: %w", i, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("transaction: %v", err)
	}
	if err := client.Do(ctx, client.B().Blpop().Key("nothing").Timeout(0.01).Build()).Error(); !rueidis.IsRedisNil(err) {
		t.Errorf("BLPOP that times out: got %v", err)
	}
}

func rueidisPubSub(ctx context.Context, t *testing.T, client rueidis.Client, channel string) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages := make(chan rueidis.PubSubMessage, 1)
	done := make(chan error, 1)
	go func() {
		done <- client.Receive(ctx, client.B().Subscribe().Channel(channel).Build(), func(m rueidis.PubSubMessage) { messages <- m })
	}()
	redistest.Eventually(t, 30*time.Second, "the subscriber to be there", func() error {
		n, err := client.Do(ctx, client.B().Publish().Channel(channel).Message("hello").Build()).AsInt64()
		if err == nil && n != 1 {
			err = fmt.Errorf("PUBLISH reached %d", n)
		}
		return err
	})
	select {
	case m := <-messages:
		if m.Channel != channel || m.Message != "hello" {
			t.Errorf("message: got %+v", m)
		}
	case <-ctx.Done():
		t.Errorf("no message: %v", ctx.Err())
	}
	cancel()
	<-done
}

// TestRueidisClientSideCaching asks for what the client does by default: to be told when a key changes that it has cached. The proxy may
// refuse that at once, so that an app knows; what it must not do is to promise it and then leave the client with an old value.
func TestRueidisClientSideCaching(t *testing.T) {
	t.Parallel()
	onEachTopology(t, func(t *testing.T, addr string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}})
		if err != nil {
			t.Logf("client-side caching is refused: %v", err)
			return
		}
		defer client.Close()
		writer := redistest.Dial(t, addr)
		for i := range 20 {
			key, value := fmt.Sprint("cached:", i%5), fmt.Sprint("value ", i)
			if got := writer.Do("SET", key, value); got != "+OK\r\n" {
				t.Fatalf("SET: %q", got)
			}
			redistest.Eventually(t, 10*time.Second, "the cached value to be dropped", func() error {
				got, err := client.DoCache(ctx, client.B().Get().Key(key).Cache(), time.Minute).ToString()
				if err == nil && got != value {
					err = fmt.Errorf("GET %s: got %q from the cache, want %q", key, got, value)
				}
				return err
			})
		}
	})
}
