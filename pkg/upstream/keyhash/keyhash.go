// Package keyhash turns a key into a number: the hashes of twemproxy, bit for
// bit, the ones of Envoy, and the slot of Redis Cluster. It does no I/O, keeps
// no state and does not allocate.
package keyhash

import (
	"bytes"
	"slices"
)

// Func hashes a key. The twemproxy functions return 32 bits, Envoy's 64.
// A Func neither keeps nor changes the key.
type Func func(key []byte) uint64

// Names of the hashes, as nutcracker.yml and an Ambassador spell them, and the
// two of Envoy.
const (
	OneAtATime = "one_at_a_time"
	MD5        = "md5"
	CRC16      = "crc16"
	CRC32      = "crc32"
	CRC32A     = "crc32a"
	FNV1x64    = "fnv1_64"
	FNV1Ax64   = "fnv1a_64"
	FNV1x32    = "fnv1_32"
	FNV1Ax32   = "fnv1a_32"
	Hsieh      = "hsieh"
	Murmur     = "murmur"
	Jenkins    = "jenkins"

	Murmur2x64A = "murmur2_64a" // Envoy's redis_proxy: MurmurHash2-64A, seed 0xc70f6907
	XXHash64    = "xxhash64"    // seed 0
)

// Lookup finds a hash by its name.
func Lookup(name string) (Func, bool) {
	for _, n := range catalogue() {
		if n.name == name {
			return n.hash, true
		}
	}
	return nil, false
}

// Names lists every name that Lookup knows, sorted.
func Names() []string {
	all := catalogue()
	names := make([]string, 0, len(all))
	for _, n := range all {
		names = append(names, n.name)
	}
	slices.Sort(names)
	return names
}

type named struct {
	name string
	hash Func
}

func catalogue() []named {
	return []named{
		{OneAtATime, oneAtATime},
		{MD5, md5First},
		{CRC16, crc16},
		{CRC32, crc32},
		{CRC32A, crc32a},
		{FNV1x64, fnv1x64},
		{FNV1Ax64, fnv1ax64},
		{FNV1x32, fnv1x32},
		{FNV1Ax32, fnv1ax32},
		{Hsieh, hsieh},
		{Murmur, murmur},
		{Jenkins, jenkins},
		{Murmur2x64A, MurmurHash2},
		{XXHash64, xxHash64},
	}
}

// Tag returns the part of key that is hashed when keys may carry a hash tag:
// what stands between the first left and the next right, if that is not empty,
// else the whole key. twemproxy's hash_tag, Envoy's enable_hashtagging and the
// hash tags of Redis Cluster (both with '{' and '}') agree on this. The result
// is a part of key and lives as long as it.
func Tag(key []byte, left, right byte) []byte {
	start := bytes.IndexByte(key, left) + 1
	if start == 0 {
		return key
	}
	if n := bytes.IndexByte(key[start:], right); n > 0 {
		return key[start : start+n]
	}
	return key
}

// Slots is the number of hash slots of a Redis Cluster.
const Slots = 16384

// Slot returns the hash slot of Redis Cluster for a key, below Slots. The key
// must be reduced to its Tag.
func Slot(tag []byte) uint16 {
	return uint16(crc16(tag) % Slots)
}
