package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestSentinelFailover: two shards, each a name that Sentinel knows. One primary is killed while clients write; its keys get errors until
// Sentinel has chosen the replica, the other shard's never do.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	names := []string{"cache-a", "cache-b"}
	sentinels := redistest.Sentinel(t, names, 3)
	m := mesh{
		port:  redistest.Port(t),
		redis: "hash: md5, opTimeout: 5s, connectTimeout: 4s",
		env:   fmt.Sprintf("sentinel: {masters: %s, addresses: %s}", quoted(names), quoted(sentinels.Addrs())),
	}
	startProxy(t, m.YAML())
	writers := startWriters(t, m.Addr(), 8)
	awaitProgress(t, writers, 20)

	victim := sentinels.Primary(names[0])
	var theirs, others []*writer
	for _, w := range writers {
		if victim.Do("EXISTS", w.key) == ":1\r\n" {
			theirs = append(theirs, w)
		} else {
			others = append(others, w)
		}
	}
	if len(theirs) == 0 || len(others) == 0 {
		t.Fatalf("%d writers on the first shard, %d on the second: want some on each", len(theirs), len(others))
	}
	killed := time.Now()
	victim.Kill()
	now := sentinels.WaitFailover(names[0], victim)
	awaitProgress(t, theirs, 50)
	t.Logf("writes to the dead primary's keys work again after at most %v", time.Since(killed).Round(time.Millisecond))
	awaitProgress(t, others, 50)
	wantNothingLost(t, others)
	for _, w := range theirs {
		w.end()
		_, failures, _ := w.state()
		for _, f := range failures {
			if !strings.HasPrefix(f, "-") {
				t.Errorf("%s lost its connection: %s", w.key, f)
			}
		}
		if now.Do("EXISTS", w.key) != ":1\r\n" {
			t.Errorf("%s is not at the new primary", w.key)
		}
	}
}

// TestSentinelOrderedFailover: an operator's failover of a sound primary costs no client its connection, and the writes go on.
func TestSentinelOrderedFailover(t *testing.T) {
	t.Parallel()
	sentinels := redistest.Sentinel(t, []string{"cache"}, 3, redistest.WithPassword("secret"))
	passwordFile := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(passwordFile, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := mesh{
		port: redistest.Port(t),
		env: fmt.Sprintf("sentinel: {masters: [cache], addresses: %s}, credentials: {passwordFile: %q}",
			quoted(sentinels.Addrs()), passwordFile),
	}
	startProxy(t, m.YAML())
	writers := startWriters(t, m.Addr(), 4)
	awaitProgress(t, writers, 20)
	sentinels.Failover("cache")
	awaitProgress(t, writers, 50)
	for _, w := range writers {
		w.end()
		_, failures, _ := w.state()
		for _, f := range failures {
			if !strings.HasPrefix(f, "-") {
				t.Errorf("%s lost its connection: %s", w.key, f)
			}
		}
	}
}
