package redistest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClusterServesAndFailsOver(t *testing.T) {
	t.Parallel()
	c := Cluster(t, 3, 1)
	if got := len(c.Primaries()); got != 3 {
		t.Errorf("primaries: got %d, want 3", got)
	}
	primary := c.Owner(KeySlot("k"))
	if got := primary.Do("SET", "k", "v"); got != "+OK\r\n" {
		t.Fatalf("SET at the slot's owner: got %q", got)
	}
	replicas := c.Replicas(primary)
	if len(replicas) != 1 {
		t.Fatalf("replicas: got %d, want 1", len(replicas))
	}
	c.Failover(replicas[0])
	if got := c.Owner(KeySlot("k")); got != replicas[0] {
		t.Errorf("owner after the failover: got %s, want %s", got.Addr(), replicas[0].Addr())
	}
	c.WaitStable()
	if got, want := replicas[0].Do("GET", "k"), "$1\r\nv\r\n"; got != want {
		t.Errorf("GET after the failover: got %q, want %q", got, want)
	}
	replicas[0].Kill()
	c.Takeover(primary)
	if got := c.Owner(KeySlot("k")); got != primary {
		t.Errorf("owner after the takeover: got %s, want %s", got.Addr(), primary.Addr())
	}
}

func TestClusterMovesSlot(t *testing.T) {
	t.Parallel()
	c := Cluster(t, 3, 0, WithPassword("secret"))
	key := "{tag}1"
	slot := KeySlot(key)
	from := c.Owner(slot)
	if got := bulk(from.Do("CLUSTER", "KEYSLOT", key)); got != ":"+strconv.Itoa(slot)+"\r\n" {
		t.Fatalf("KeySlot(%q) is %d, the server's is %q", key, slot, got)
	}
	to := c.Primaries()[0]
	if to == from {
		to = c.Primaries()[1]
	}
	for i := range 250 {
		from.Client().Do("SET", fmt.Sprintf("{tag}%d", i), "v")
	}
	var steps []string
	c.MoveSlot(slot, from, to, func(step MoveStep) {
		reply := from.Do("GET", key)
		word, _, _ := strings.Cut(strings.TrimSpace(reply), " ")
		steps = append(steps, fmt.Sprintf("%d %q", step, word))
	})
	want := []string{`0 "$1\r\nv"`, `1 "$1\r\nv"`, `2 "-ASK"`, `3 "-MOVED"`}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Errorf("the old owner's answers (-want +got):\n%s", diff)
	}
	if got := to.Do("CLUSTER", "COUNTKEYSINSLOT", strconv.Itoa(slot)); got != ":250\r\n" {
		t.Errorf("keys at the new owner: got %q, want 250", got)
	}
}

func TestSentinelFailsOver(t *testing.T) {
	t.Parallel()
	s := Sentinel(t, []string{"cache", "queue"}, 3, WithPassword("secret"))
	first := s.Primary("cache")
	first.Kill()
	second := s.WaitFailover("cache", first)
	if second == first || second.Info("role") != "master" {
		t.Errorf("after the kill, %s is in role %s", second.Addr(), second.Info("role"))
	}
	before := s.Primary("queue")
	if after := s.Failover("queue"); after == before {
		t.Error("the ordered failover changed nothing")
	}
}

func TestSentinelOverTLS(t *testing.T) {
	t.Parallel()
	s := Sentinel(t, []string{"cache"}, 3, WithTLS(NewPKI(t)), WithUser("app", "secret", "~* &* +@all"), WithoutDefaultUser())
	if got, want := s.Primary("cache"), s.Servers("cache")[0]; got != want {
		t.Errorf("primary: got %v, want %v", got, want)
	}
}
