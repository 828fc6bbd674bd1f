package keyhash

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// MurmurHash2 is MurmurHash2-64A with the seed of libstdc++ (0xc70f6907), as
// Envoy's redis_proxy hashes keys and its ring hash, when so configured, hosts.
func MurmurHash2(key []byte) uint64 {
	const (
		seed = 0xc70f6907
		m    = 0xc6a4a7935bd1e995
		r    = 47
	)
	h := seed ^ uint64(len(key))*m
	for ; len(key) >= 8; key = key[8:] {
		k := binary.LittleEndian.Uint64(key) * m
		k ^= k >> r
		h = (h ^ k*m) * m
	}
	if len(key) > 0 {
		var last [8]byte
		copy(last[:], key)
		h = (h ^ binary.LittleEndian.Uint64(last[:])) * m
	}
	h ^= h >> r
	h *= m
	h ^= h >> r
	return h
}

// SeededXXHash64 is xxHash64 with a seed. Envoy's ring hash uses seed 0, its
// Maglev 0 and 1.
func SeededXXHash64(key []byte, seed uint64) uint64 {
	if seed == 0 {
		return xxhash.Sum64(key)
	}
	var d xxhash.Digest
	d.ResetWithSeed(seed)
	_, _ = d.Write(key) // never fails
	return d.Sum64()
}

func xxHash64(key []byte) uint64 { return xxhash.Sum64(key) }
