package keyhash

import (
	"crypto/md5" //nolint:gosec // twemproxy places keys with it; nothing relies on its strength
	"encoding/binary"
	stdcrc32 "hash/crc32"
	"math/bits"
)

// The functions here give what nutcracker 0.5.0 computes on x86-64, quirks
// included: its char is signed, so bytes from 0x80 up are sign-extended where
// a hash mixes whole words; and the empty key is never hashed but counts as 0
// (server_pool_hash), which matters to md5, jenkins and the fnv family: the
// others give 0 by themselves.

// signed is a byte as C's signed char, widened to 32 bits.
func signed(b byte) uint32 { return uint32(int32(int8(b))) }

func oneAtATime(key []byte) uint64 {
	var h uint32
	for _, b := range key {
		h += signed(b)
		h += h << 10
		h ^= h >> 6
	}
	h += h << 3
	h ^= h >> 11
	h += h << 15
	return uint64(h)
}

func md5First(key []byte) uint64 {
	if len(key) == 0 {
		return 0
	}
	sum := md5.Sum(key) //nolint:gosec // see the import
	return uint64(binary.LittleEndian.Uint32(sum[:]))
}

// crc16 is CRC-16/XMODEM whose register is 32 bits wide and never masked: what
// is shifted out of the low half stays in the high one. The polynomial 0x1021
// is folded by hand: faster than a table that is not in the cache, and no
// global.
func crc16(key []byte) uint64 {
	var h uint32
	for _, b := range key {
		x := uint16(byte(h>>8) ^ b)
		x ^= x >> 4
		h = h<<8 ^ uint32(x<<12^x<<5^x)
	}
	return uint64(h)
}

// crc32 is the 15-bit form that libmemcached has under this name.
func crc32(key []byte) uint64 {
	return uint64(stdcrc32.ChecksumIEEE(key) >> 16 & 0x7fff)
}

func crc32a(key []byte) uint64 {
	return uint64(stdcrc32.ChecksumIEEE(key))
}

// The low halves of FNV's 64-bit constants. twemproxy keeps 32 bits of the
// result, and no step carries a high bit down, so 32-bit arithmetic suffices.
const (
	fnvOffset64Low = 0x84222325
	fnvPrime64Low  = 0x1b3
	fnvOffset32    = 2166136261
	fnvPrime32     = 16777619
)

func fnv1x64(key []byte) uint64  { return fnv1(key, fnvOffset64Low, fnvPrime64Low) }
func fnv1ax64(key []byte) uint64 { return fnv1a(key, fnvOffset64Low, fnvPrime64Low) }
func fnv1x32(key []byte) uint64  { return fnv1(key, fnvOffset32, fnvPrime32) }
func fnv1ax32(key []byte) uint64 { return fnv1a(key, fnvOffset32, fnvPrime32) }

func fnv1(key []byte, h, prime uint32) uint64 {
	if len(key) == 0 {
		return 0
	}
	for _, b := range key {
		h = h*prime ^ signed(b)
	}
	return uint64(h)
}

func fnv1a(key []byte, h, prime uint32) uint64 {
	if len(key) == 0 {
		return 0
	}
	for _, b := range key {
		h = (h ^ signed(b)) * prime
	}
	return uint64(h)
}

// hsieh is Paul Hsieh's SuperFastHash started from 0.
func hsieh(key []byte) uint64 {
	var h uint32
	for ; len(key) >= 4; key = key[4:] {
		h += uint32(binary.LittleEndian.Uint16(key))
		t := uint32(binary.LittleEndian.Uint16(key[2:]))<<11 ^ h
		h = h<<16 ^ t
		h += h >> 11
	}
	switch len(key) {
	case 3:
		h += uint32(binary.LittleEndian.Uint16(key))
		h ^= h << 16
		h ^= signed(key[2]) << 18
		h += h >> 11
	case 2:
		h += uint32(binary.LittleEndian.Uint16(key))
		h ^= h << 11
		h += h >> 17
	case 1:
		h += uint32(key[0])
		h ^= h << 10
		h += h >> 1
	}
	h ^= h << 3
	h += h >> 5
	h ^= h << 4
	h += h >> 17
	h ^= h << 25
	h += h >> 6
	return uint64(h)
}

// murmur is MurmurHash2 whose seed is 0xdeadbeef times the length.
func murmur(key []byte) uint64 {
	const m = 0x5bd1e995
	n := uint32(len(key))
	h := 0xdeadbeef*n ^ n
	for ; len(key) >= 4; key = key[4:] {
		k := binary.LittleEndian.Uint32(key) * m
		k ^= k >> 24
		h = h*m ^ k*m
	}
	if len(key) > 0 {
		h ^= littleEndian(key)
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return uint64(h)
}

// jenkins is Bob Jenkins' lookup3 with the initial value 13.
func jenkins(key []byte) uint64 {
	if len(key) == 0 {
		return 0
	}
	a := 0xdeadbeef + uint32(len(key)) + 13
	b, c := a, a
	for ; len(key) > 12; key = key[12:] {
		a += binary.LittleEndian.Uint32(key)
		b += binary.LittleEndian.Uint32(key[4:])
		c += binary.LittleEndian.Uint32(key[8:])
		a, b, c = jenkinsMix(a, b, c)
	}
	var last [12]byte
	copy(last[:], key)
	a += binary.LittleEndian.Uint32(last[:])
	b += binary.LittleEndian.Uint32(last[4:])
	c += binary.LittleEndian.Uint32(last[8:])
	return uint64(jenkinsFinal(a, b, c))
}

func jenkinsMix(a, b, c uint32) (uint32, uint32, uint32) {
	a = (a - c) ^ bits.RotateLeft32(c, 4)
	c += b
	b = (b - a) ^ bits.RotateLeft32(a, 6)
	a += c
	c = (c - b) ^ bits.RotateLeft32(b, 8)
	b += a
	a = (a - c) ^ bits.RotateLeft32(c, 16)
	c += b
	b = (b - a) ^ bits.RotateLeft32(a, 19)
	a += c
	c = (c - b) ^ bits.RotateLeft32(b, 4)
	b += a
	return a, b, c
}

func jenkinsFinal(a, b, c uint32) uint32 {
	c = (c ^ b) - bits.RotateLeft32(b, 14)
	a = (a ^ c) - bits.RotateLeft32(c, 11)
	b = (b ^ a) - bits.RotateLeft32(a, 25)
	c = (c ^ b) - bits.RotateLeft32(b, 16)
	a = (a ^ c) - bits.RotateLeft32(c, 4)
	b = (b ^ a) - bits.RotateLeft32(a, 14)
	return (c ^ b) - bits.RotateLeft32(b, 24)
}

// littleEndian reads up to four bytes.
func littleEndian(p []byte) uint32 {
	var v uint32
	for i, b := range p {
		v |= uint32(b) << (8 * i)
	}
	return v
}
