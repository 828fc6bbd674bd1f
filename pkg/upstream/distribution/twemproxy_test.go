package distribution_test

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/distribution"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/keyhash"
)

func mustHash(tb testing.TB, name string) keyhash.Func {
	tb.Helper()
	f, ok := keyhash.Lookup(name)
	if !ok {
		tb.Fatalf("no hash %q", name)
	}
	return f
}

// The pool of the vectors' first line; its servers are called after their ports.
func vectorPool() (members []distribution.Member, servers []string) {
	members = []distribution.Member{
		{Name: "127.0.0.1:17403", Weight: 2},
		{Name: "127.0.0.1:17401", Weight: 1},
		{Name: "127.0.0.1:17402", Weight: 1},
	}
	return members, []string{"s3", "s1", "s2"}
}

func TestTwemproxyVectors(t *testing.T) {
	t.Parallel()
	members, servers := vectorPool()
	ketama, modula := distribution.NewKetama(members), distribution.NewModula(members)
	f, err := os.Open("../keyhash/testdata/twemproxy_vectors.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		lines++
		row := strings.Split(s.Text(), "\t")
		key, err := hex.DecodeString(row[0])
		if err != nil {
			t.Fatal(err)
		}
		key = redisproto.HashTag(key, '{', '}')
		hash := mustHash(t, row[1])(key)
		got := []string{
			servers[ketama.Pick(hash)],
			servers[modula.Pick(hash)],
		}
		if diff := cmp.Diff(row[3:5], got); diff != "" {
			t.Errorf("%s with %s: ketama, modula (-want +got):\n%s", row[0], row[1], diff)
		}
	}
	if lines < 500 {
		t.Errorf("only %d vectors", lines)
	}
}

// Only the keys of an ejected member move: with equal weights every server has
// the same points, however many are live.
func TestEjectionMovesOnlyItsKeys(t *testing.T) {
	t.Parallel()
	var members []distribution.Member
	for i := range 5 {
		members = append(members, distribution.Member{Name: fmt.Sprintf("10.0.0.%d:6379", i), Weight: 1})
	}
	all, live := distribution.NewKetama(members), distribution.NewKetama(members[:4])
	moved, total := 0, 0
	for i := range 10000 {
		hash := mustHash(t, keyhash.FNV1Ax64)(fmt.Appendf(nil, "key:%d", i))
		before, after := all.Pick(hash), live.Pick(hash)
		if before == 4 {
			continue
		}
		total++
		if before != after {
			moved++
		}
	}
	if moved != 0 {
		t.Errorf("%d of %d keys moved although their server is live", moved, total)
	}
}

func TestFewMembers(t *testing.T) {
	t.Parallel()
	ring := func(m []distribution.Member) distribution.Distribution {
		d, err := distribution.NewRingHash(m, 1024, 4096)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	maglev := func(m []distribution.Member) distribution.Distribution {
		d, err := distribution.NewMaglev(m, 7)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	random := func(m []distribution.Member) distribution.Distribution {
		return distribution.NewRandom(m, func() uint64 { return 41 })
	}
	one := []distribution.Member{{Name: "a", Weight: 7}}
	for name, build := range map[string]func([]distribution.Member) distribution.Distribution{
		"ketama": distribution.NewKetama, "modula": distribution.NewModula, "random": random,
		"ring_hash": ring, "maglev": maglev,
	} {
		for _, hash := range []uint64{0, 1, math.MaxUint32, math.MaxUint64} {
			if got := build(nil).Pick(hash); got != -1 {
				t.Errorf("%s without members picks %d", name, got)
			}
			if got := build(one).Pick(hash); got != 0 {
				t.Errorf("%s with one member picks %d", name, got)
			}
		}
	}
}

func TestExtremeWeights(t *testing.T) {
	t.Parallel()
	members := []distribution.Member{
		{Name: "a", Weight: math.MaxUint32}, {Name: "b", Weight: math.MaxUint32}, {Name: "c", Weight: 0},
	}
	for _, d := range []distribution.Distribution{distribution.NewKetama(members), distribution.NewModula(members)} {
		for hash := uint64(1); hash < 1<<62; hash *= 3 {
			if got := d.Pick(hash); got < 0 || got > 1 {
				t.Errorf("%T.Pick(%d) = %d, want a or b", d, hash, got)
			}
		}
	}
}

func TestRandomIgnoresWeights(t *testing.T) {
	t.Parallel()
	var n uint64
	d := distribution.NewRandom([]distribution.Member{{Name: "a", Weight: 9}, {Name: "b", Weight: 1}},
		func() uint64 { n++; return n })
	counts := map[int]int{}
	for range 100 {
		counts[d.Pick(0)]++
	}
	if diff := cmp.Diff(map[int]int{0: 50, 1: 50}, counts); diff != "" {
		t.Errorf("picks (-want +got):\n%s", diff)
	}
}

func TestMemberName(t *testing.T) {
	t.Parallel()
	tests := []struct {
		given, host string
		port        uint16
		want        string
	}{
		{"", "127.0.0.1", 6379, "127.0.0.1:6379"},
		{"", "127.0.0.1", 11211, "127.0.0.1"},
		{"shard1", "127.0.0.1", 11211, "shard1"},
		{"", "/run/redis.sock", 0, "/run/redis.sock:"},
		{"s", "/run/redis.sock", 0, "s"},
	}
	for _, tt := range tests {
		if got := distribution.MemberName(tt.given, tt.host, tt.port); got != tt.want {
			t.Errorf("MemberName(%q, %q, %d) = %q, want %q", tt.given, tt.host, tt.port, got, tt.want)
		}
	}
}
