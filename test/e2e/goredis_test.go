package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

func TestGoRedis(t *testing.T) {
	t.Parallel()
	onEachTopology(t, func(t *testing.T, addr string) {
		for _, protocol := range []int{2, 3} {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			client := redis.NewClient(&redis.Options{Addr: addr, Protocol: protocol, ClientName: "app", ReadTimeout: time.Minute})
			defer client.Close()
			if err := client.FlushAll(ctx).Err(); err != nil {
				t.Fatal(err)
			}
			goRedisKeys(ctx, t, client)
			goRedisTransactions(ctx, t, client)
			goRedisBlocking(ctx, t, client)
			goRedisPubSub(ctx, t, client)
			goRedisScripts(ctx, t, client)
		}
	})
}

func goRedisKeys(ctx context.Context, t *testing.T, client *redis.Client) {
	t.Helper()
	var pairs, keys []string
	for i := range 100 {
		keys = append(keys, fmt.Sprintf("key:%02d", i))
		pairs = append(pairs, keys[i], fmt.Sprint(i))
	}
	if err := client.MSet(ctx, pairs).Err(); err != nil {
		t.Errorf("MSET: %v", err)
	}
	values, err := client.MGet(ctx, append(slices.Clone(keys), "missing")...).Result()
	if err != nil || len(values) != 101 || values[42] != "42" || values[100] != nil {
		t.Errorf("MGET: got %v, %v", values, err)
	}
	var scanned []string
	for iter := client.Scan(ctx, 0, "key:*", 10).Iterator(); iter.Next(ctx); {
		scanned = append(scanned, iter.Val())
	}
	slices.Sort(scanned)
	if diff := cmp.Diff(keys, slices.Compact(scanned)); diff != "" {
		t.Errorf("SCAN (-want +got):\n%s", diff)
	}
	if n, err := client.DBSize(ctx).Result(); n != 100 || err != nil {
		t.Errorf("DBSIZE: got %d, %v", n, err)
	}
	cmds, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range keys {
			p.Incr(ctx, key)
		}
		return nil
	})
	if err != nil || len(cmds) != 100 || cmds[99].(*redis.IntCmd).Val() != 100 {
		t.Errorf("pipeline: got %d replies, %v", len(cmds), err)
	}
	if n, err := client.Del(ctx, keys...).Result(); n != 100 || err != nil {
		t.Errorf("DEL: got %d, %v", n, err)
	}
	if err := client.Get(ctx, "key:00").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("GET of a deleted key: got %v, want redis.Nil", err)
	}
}

func goRedisTransactions(ctx context.Context, t *testing.T, client *redis.Client) {
	t.Helper()
	_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, "{tx}a", 1, 0)
		p.Incr(ctx, "{tx}a")
		return nil
	})
	if err != nil {
		t.Errorf("transaction: %v", err)
	}
	err = client.Watch(ctx, func(tx *redis.Tx) error {
		n, err := tx.Get(ctx, "{tx}a").Int()
		if err != nil {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, "{tx}a", n+40, 0)
			return nil
		})
		return err
	}, "{tx}a")
	if err != nil {
		t.Errorf("WATCH: %v", err)
	}
	err = client.Watch(ctx, func(tx *redis.Tx) error {
		if err := client.Set(ctx, "{tx}a", "by another", 0).Err(); err != nil {
			return err
		}
		_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, "{tx}a", "lost", 0)
			return nil
		})
		return err
	}, "{tx}a")
	if !errors.Is(err, redis.TxFailedErr) {
		t.Errorf("WATCH of a key that another client changed: got %v, want %v", err, redis.TxFailedErr)
	}
	if got := client.Get(ctx, "{tx}a").Val(); got != "by another" {
		t.Errorf("value after the failed transaction: got %q", got)
	}
}

func goRedisBlocking(ctx context.Context, t *testing.T, client *redis.Client) {
	t.Helper()
	type popped struct {
		value []string
		err   error
	}
	result := make(chan popped, 1)
	go func() {
		value, err := client.BLPop(ctx, 30*time.Second, "queue").Result()
		result <- popped{value, err}
	}()
	if err := client.RPush(ctx, "queue", "job").Err(); err != nil {
		t.Errorf("RPUSH: %v", err)
	}
	if got := <-result; got.err != nil || !slices.Equal(got.value, []string{"queue", "job"}) {
		t.Errorf("BLPOP: got %q, %v", got.value, got.err)
	}
	if err := client.BLPop(ctx, 10*time.Millisecond, "queue").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("BLPOP that times out: got %v, want redis.Nil", err)
	}
	id, err := client.XAdd(ctx, &redis.XAddArgs{Stream: "stream", Values: []string{"k", "v"}}).Result()
	if err != nil {
		t.Errorf("XADD: %v", err)
	}
	streams, err := client.XRead(ctx, &redis.XReadArgs{Streams: []string{"stream", "0"}, Block: time.Second}).Result()
	if err != nil || len(streams) != 1 || streams[0].Messages[0].ID != id {
		t.Errorf("XREAD: got %v, %v", streams, err)
	}
}

func goRedisPubSub(ctx context.Context, t *testing.T, client *redis.Client) {
	t.Helper()
	sub := client.Subscribe(ctx, "news", "sport")
	defer sub.Close()
	if err := sub.PSubscribe(ctx, "w*"); err != nil {
		t.Errorf("PSUBSCRIBE: %v", err)
	}
	for range 3 {
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatalf("confirmation of a subscription: %v", err)
		}
	}
	want := map[string]string{"news": "1", "sport": "2", "weather": "3"}
	for channel, message := range want {
		n, err := client.Publish(ctx, channel, message).Result()
		// A Redis Cluster counts who is at the same node; where a pattern's subscriber is does not depend on the channel.
		if (n != 1 && channel != "weather") || err != nil {
			t.Errorf("PUBLISH %s: got %d receivers, %v", channel, n, err)
		}
	}
	got := make(map[string]string)
	for range want {
		message, err := sub.ReceiveMessage(ctx)
		if err != nil {
			t.Fatalf("receiving: %v", err)
		}
		got[message.Channel] = message.Payload
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if err := sub.Ping(ctx); err != nil {
		t.Errorf("PING of a subscriber: %v", err)
	}
}

func goRedisScripts(ctx context.Context, t *testing.T, client *redis.Client) {
	t.Helper()
	script := redis.NewScript("return redis.call('INCRBY', KEYS[1], ARGV[1])")
	for i, key := range []string{"s:1", "s:2", "s:3", "s:4", "s:5"} {
		if n, err := script.Run(ctx, client, []string{key}, i).Int(); n != i || err != nil {
			t.Errorf("script on %s: got %d, %v", key, n, err)
		}
	}
	sha, err := client.ScriptLoad(ctx, "return KEYS[1]").Result()
	if err != nil {
		t.Fatalf("SCRIPT LOAD: %v", err)
	}
	for i := range 16 {
		key := fmt.Sprint("k", i)
		if got, err := client.EvalSha(ctx, sha, []string{key}).Result(); got != key || err != nil {
			t.Errorf("EVALSHA on %s: got %v, %v", key, got, err)
		}
	}
}
