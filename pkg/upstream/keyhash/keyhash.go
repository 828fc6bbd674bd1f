// Package keyhash turns a key into a number: the hashes of twemproxy, bit for
// bit, and the ones of Envoy. It does no I/O, keeps no state and does not allocate.
// What of a key is hashed, and the slots of Redis Cluster, are pkg/redisproto's.
package keyhash

import "slices"

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
