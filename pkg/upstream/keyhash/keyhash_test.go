package keyhash_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/keyhash"
)

// vectors reads the lines measured with nutcracker; the file's first line says
// what the columns are.
func vectors(t *testing.T) [][]string {
	t.Helper()
	f, err := os.Open("testdata/twemproxy_vectors.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows [][]string
	for s := bufio.NewScanner(f); s.Scan(); {
		if line := s.Text(); !strings.HasPrefix(line, "#") {
			rows = append(rows, strings.Split(line, "\t"))
		}
	}
	if len(rows) < 500 {
		t.Fatalf("only %d vectors", len(rows))
	}
	return rows
}

func mustLookup(tb testing.TB, name string) keyhash.Func {
	tb.Helper()
	f, ok := keyhash.Lookup(name)
	if !ok {
		tb.Fatalf("no hash %q", name)
	}
	return f
}

func TestTwemproxyVectors(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for _, row := range vectors(t) {
		key, err := hex.DecodeString(row[0])
		if err != nil {
			t.Fatal(err)
		}
		want, err := strconv.ParseUint(row[2], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		seen[row[1]]++
		if got := mustLookup(t, row[1])(redisproto.HashTag(key, '{', '}')); got != want {
			t.Errorf("%s(%s) = %d, want %d", row[1], row[0], got, want)
		}
	}
	if len(seen) != 12 {
		t.Errorf("vectors cover %d hashes, want 12", len(seen))
	}
}

// Envoy's own unit test (test/common/common/hash_test.cc) has these values.
func TestEnvoyHashes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		key            string
		murmur2, xxh64 uint64
	}{
		{"", 6142509188972423790, 17241709254077376921},
		{"foo", 9631199822919835226, 3728699739546630719},
		{"bar", 11474628671133349555, 5234164152756840025},
		{"foo\nbar", 16306510975912980159, 8917841378505826757},
		{"lyft", 12847078931730529320, 4400747396090729504},
	}
	for _, tt := range tests {
		if got := mustLookup(t, keyhash.Murmur2x64A)([]byte(tt.key)); got != tt.murmur2 {
			t.Errorf("murmur2_64a(%q) = %d, want %d", tt.key, got, tt.murmur2)
		}
		if got := mustLookup(t, keyhash.XXHash64)([]byte(tt.key)); got != tt.xxh64 {
			t.Errorf("xxhash64(%q) = %d, want %d", tt.key, got, tt.xxh64)
		}
	}
}

// The reference implementation's sanity check (xxHash, PRIME32 as seed) and the
// published value of a short text.
func TestSeededXXHash64(t *testing.T) {
	t.Parallel()
	tests := []struct {
		key        string
		seed, want uint64
	}{
		{"", 0, 0xef46db3751d8e999},
		{"", 2654435761, 0xac75fda2929b17ef},
		{"a", 0, 0xd24ec4f1a98c6e5b},
	}
	for _, tt := range tests {
		if got := keyhash.SeededXXHash64([]byte(tt.key), tt.seed); got != tt.want {
			t.Errorf("SeededXXHash64(%q, %d) = %#x, want %#x", tt.key, tt.seed, got, tt.want)
		}
	}
}

func TestEmptyKeyIsZeroInTwemproxy(t *testing.T) {
	t.Parallel()
	for _, name := range keyhash.Names() {
		if name == keyhash.Murmur2x64A || name == keyhash.XXHash64 {
			continue
		}
		if got := mustLookup(t, name)(nil); got != 0 {
			t.Errorf("%s of the empty key = %d, want 0", name, got)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	want := []string{
		"crc16", "crc32", "crc32a", "fnv1_32", "fnv1_64", "fnv1a_32", "fnv1a_64", "hsieh", "jenkins",
		"md5", "murmur", "murmur2_64a", "one_at_a_time", "xxhash64",
	}
	if diff := cmp.Diff(want, keyhash.Names()); diff != "" {
		t.Errorf("Names (-want +got):\n%s", diff)
	}
	if _, ok := keyhash.Lookup("sha1"); ok {
		t.Error("Lookup finds a hash that does not exist")
	}
}

func TestNoAllocation(t *testing.T) {
	key := []byte("user:{1234567890}:session")
	for _, name := range keyhash.Names() {
		f := mustLookup(t, name)
		if n := testing.AllocsPerRun(100, func() { f(redisproto.HashTag(key, '{', '}')) }); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { keyhash.SeededXXHash64(key, 1) }); n != 0 {
		t.Errorf("SeededXXHash64 allocates %v times", n)
	}
}

func TestKeyIsLeftAlone(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte("k\x80\xff"), 13)
	before := slices.Clone(key)
	for _, name := range keyhash.Names() {
		mustLookup(t, name)(key)
		if !bytes.Equal(key, before) {
			t.Errorf("%s changed its key", name)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	key := []byte("user:1234567890:session")
	for _, name := range keyhash.Names() {
		f := mustLookup(b, name)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f(key)
			}
		})
	}
}
