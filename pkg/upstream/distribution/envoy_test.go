package distribution_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/upstream/distribution"
)

// The rings and tables in this file are those that Envoy's own unit tests
// (ring_hash_lb_test.cc, maglev_lb_test.cc) expect.

// local makes members 127.0.0.1:first, :first+1, ... with the given weights.
func local(first int, weights ...uint32) []distribution.Member {
	var members []distribution.Member
	for i, w := range weights {
		members = append(members, distribution.Member{Name: fmt.Sprintf("127.0.0.1:%d", first+i), Weight: w})
	}
	return members
}

// named makes members whose hash key is "first", "first+1", ...
func named(first, n int) []distribution.Member {
	var members []distribution.Member
	for i := range n {
		members = append(members, distribution.Member{Name: fmt.Sprint(first + i), Weight: 1})
	}
	return members
}

func mustRing(tb testing.TB, members []distribution.Member, minSize, maxSize uint64) distribution.Distribution {
	tb.Helper()
	d, err := distribution.NewRingHash(members, minSize, maxSize)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func mustMurmurRing(tb testing.TB, members []distribution.Member, minSize, maxSize uint64) distribution.Distribution {
	tb.Helper()
	d, err := distribution.NewRingHashMurmur2(members, minSize, maxSize)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

type point struct {
	hash  uint64
	owner int
}

// checkRing asserts that a ring has exactly these points, given in order: each
// belongs to its owner, and what follows it to the next one's.
func checkRing(t *testing.T, d distribution.Distribution, points []point) {
	t.Helper()
	for i, p := range points {
		if got := d.Pick(p.hash); got != p.owner {
			t.Errorf("Pick(%d) = %d, want %d", p.hash, got, p.owner)
		}
		next := points[(i+1)%len(points)].owner
		if got := d.Pick(p.hash + 1); got != next {
			t.Errorf("Pick(%d), one after a point, = %d, want %d", p.hash+1, got, next)
		}
	}
	for _, hash := range []uint64{0, math.MaxUint64} {
		if got := d.Pick(hash); got != points[0].owner {
			t.Errorf("Pick(%d) = %d, want the first point's owner %d", hash, got, points[0].owner)
		}
	}
}

func TestRingHashPoints(t *testing.T) {
	t.Parallel()
	six := []uint32{1, 1, 1, 1, 1, 1}
	t.Run("xxHash64", func(t *testing.T) {
		t.Parallel()
		checkRing(t, mustRing(t, local(90, six...), 12, distribution.DefaultMaxRingSize), []point{
			{833437586790550860, 4},
			{928266305478181108, 2},
			{1033482794131418490, 0},
			{3551244743356806947, 5},
			{3851675632748031481, 3},
			{5583722120771150861, 1},
			{6311230543546372928, 1},
			{7700377290971790572, 3},
			{13144177310400110813, 5},
			{13444792449719432967, 2},
			{15516499411664133160, 4},
			{16117243373044804889, 0},
		})
	})
	t.Run("MurmurHash2", func(t *testing.T) {
		t.Parallel()
		checkRing(t, mustMurmurRing(t, local(80, six...), 12, distribution.DefaultMaxRingSize), []point{
			{1358027074129602068, 5},
			{4361834613929391114, 3},
			{7224494972555149682, 4},
			{7701421856454313576, 1},
			{8649315368077433379, 2},
			{8739448859063030639, 4},
			{9887544217113020895, 1},
			{10150910876324007731, 2},
			{15168472011420622455, 3},
			{15427156902705414897, 0},
			{16375050414328759093, 5},
			{17613279263364193813, 0},
		})
	})
	t.Run("hash keys", func(t *testing.T) {
		t.Parallel()
		checkRing(t, mustRing(t, named(90, 6), 12, distribution.DefaultMaxRingSize), []point{
			{1975508444536362413, 5},
			{2376063919839173711, 5},
			{2386806903309390596, 3},
			{6749904478991551885, 4},
			{6803900775736438537, 3},
			{7225015537174310577, 2},
			{8787465352164086522, 0},
			{11282020843382717940, 2},
			{13723418369486627818, 1},
			{13776502110861797421, 0},
			{14338313586354474791, 1},
			{15364271037087512980, 4},
		})
	})
	t.Run("rounded up to whole numbers", func(t *testing.T) {
		t.Parallel()
		checkRing(t, mustRing(t, local(80, 1, 1), 3, distribution.DefaultMaxRingSize), []point{
			{5454692015285649509, 0},
			{7859399908942313493, 1},
			{13838424394637650569, 0},
			{16064866803292627174, 1},
		})
	})
	t.Run("weights", func(t *testing.T) {
		t.Parallel()
		checkRing(t, mustRing(t, local(90, 1, 2, 3), 6, 6), []point{
			{928266305478181108, 2},
			{4443673547860492590, 2},
			{5583722120771150861, 1},
			{6311230543546372928, 1},
			{13444792449719432967, 2},
			{16117243373044804889, 0},
		})
	})
}

func TestRingHashShares(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name             string
		weights          []uint32
		minSize, maxSize uint64
		picks            uint64
		want             []int
	}{
		{"weights", []uint32{1, 2, 3}, 6144, distribution.DefaultMaxRingSize, 6000, []int{987, 1932, 3081}},
		{"fractions", []uint32{1, 1}, 1023, 1023, 1023, []int{526, 497}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := mustRing(t, local(90, tt.weights...), tt.minSize, tt.maxSize)
			got := make([]int, len(tt.weights))
			for i := range tt.picks {
				got[d.Pick(i*(math.MaxUint64/tt.picks))]++
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("picks (-want +got):\n%s", diff)
			}
		})
	}
}

// A ring of 2 for 4 members holds two of them.
func TestRingHashSmallerThanMembers(t *testing.T) {
	t.Parallel()
	d := mustRing(t, local(90, 1, 1, 1, 1), 2, 2)
	seen := map[int]bool{}
	for i := range uint64(1024) {
		seen[d.Pick(i*(math.MaxUint64/1024))] = true
	}
	if len(seen) != 2 {
		t.Errorf("%d members on the ring, want 2", len(seen))
	}
}

func TestMaglevTables(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		members []distribution.Member
		want    []int
	}{
		{"addresses", local(90, 1, 1, 1, 1, 1, 1), []int{2, 4, 0, 1, 5, 0, 3}},
		{"hash keys", named(90, 6), []int{2, 5, 0, 3, 4, 1, 0}},
		{"weights", local(90, 1, 2), []int{1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 0, 1}},
		{"equal weights", local(90, 5, 5), []int{1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, err := distribution.NewMaglev(tt.members, uint64(len(tt.want)))
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			for i := range tt.want {
				got = append(got, d.Pick(uint64(3*len(tt.want)+i)))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMaglevIgnoresOrder(t *testing.T) {
	t.Parallel()
	members := local(90, 3, 1, 4, 1, 5)
	reversed := make([]distribution.Member, len(members))
	for i, m := range members {
		reversed[len(members)-1-i] = m
	}
	a, err := distribution.NewMaglev(members, distribution.DefaultMaglevTableSize)
	if err != nil {
		t.Fatal(err)
	}
	b, err := distribution.NewMaglev(reversed, distribution.DefaultMaglevTableSize)
	if err != nil {
		t.Fatal(err)
	}
	for hash := range uint64(distribution.DefaultMaglevTableSize) {
		if x, y := members[a.Pick(hash)].Name, reversed[b.Pick(hash)].Name; x != y {
			t.Fatalf("place %d: %s, and with the members reversed %s", hash, x, y)
		}
	}
}

func TestConstructorErrors(t *testing.T) {
	t.Parallel()
	heavy := local(90, math.MaxUint32, 1)
	ring := func(m []distribution.Member, minSize, maxSize uint64) error {
		_, err := distribution.NewRingHash(m, minSize, maxSize)
		return err
	}
	maglev := func(m []distribution.Member, size uint64) error {
		_, err := distribution.NewMaglev(m, size)
		return err
	}
	tests := []struct {
		name string
		err  error
		want error
	}{
		{"ring: minimum above maximum", ring(nil, 20, 10), distribution.ErrRingSize},
		{"ring: zero", ring(nil, 0, 10), distribution.ErrRingSize},
		{"ring: too large", ring(nil, 1, 8<<20+1), distribution.ErrRingSize},
		{"ring: weights", ring(heavy, 1, 10), distribution.ErrWeights},
		{"Maglev: not prime", maglev(nil, 8), distribution.ErrTableSize},
		{"Maglev: one", maglev(nil, 1), distribution.ErrTableSize},
		{"Maglev: too large", maglev(nil, 5000077), distribution.ErrTableSize},
		{"Maglev: weights", maglev(heavy, 7), distribution.ErrWeights},
	}
	for _, tt := range tests {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: got error %v, want %v", tt.name, tt.err, tt.want)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	members := local(6379, 1, 1, 2, 1)
	maglev, err := distribution.NewMaglev(members, distribution.DefaultMaglevTableSize)
	if err != nil {
		b.Fatal(err)
	}
	for _, bm := range []struct {
		name string
		d    distribution.Distribution
	}{
		{"ketama", distribution.NewKetama(members)},
		{"modula", distribution.NewModula(members)},
		{"ring_hash", mustRing(b, members, distribution.DefaultMinRingSize, distribution.DefaultMaxRingSize)},
		{"maglev", maglev},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			hash := uint64(1)
			for b.Loop() {
				bm.d.Pick(hash)
				hash = hash*6364136223846793005 + 1442695040888963407
			}
		})
	}
}
