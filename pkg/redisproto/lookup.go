package redisproto

import "iter"

//go:generate go run ../../internal/gen/rediscommands -addr 127.0.0.1:7000 -addr 127.0.0.1:8000 -docs commands_core.json -out table_gen.go

// Lookup returns the command of that name in any case, or nil. The result is
// shared and must not be changed.
func Lookup(name []byte) *Spec {
	const mask = uint32(len(specIndex) - 1)
	for slot := hashName(name) & mask; ; slot = (slot + 1) & mask {
		i := specIndex[slot]
		if i == 0 {
			return nil
		}
		if s := &specs[i-1]; equalFold(s.Name, name) {
			return s
		}
	}
}

// hashName is FNV-1a, folding case; the generator has the same.
func hashName(name []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range name {
		h = (h ^ uint32(c|0x20)) * 16777619
	}
	return h ^ h>>16
}

// equalFold reports whether name is lower except for the case of ASCII letters.
func equalFold(lower string, name []byte) bool {
	if len(lower) != len(name) {
		return false
	}
	for i, c := range name {
		if c-'A' < 26 {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Subcommand returns the subcommand of that name in any case, or nil. The name
// is without its container, as it comes in a request.
func (s *Spec) Subcommand(name []byte) *Spec {
	for _, sub := range s.Sub {
		if equalFold(sub.Name[len(s.Name)+1:], name) {
			return sub
		}
	}
	return nil
}

// Commands iterates over all commands in the order of their names, without
// their subcommands.
func Commands() iter.Seq[*Spec] {
	return func(yield func(*Spec) bool) {
		for i := range specs {
			if !yield(&specs[i]) {
				return
			}
		}
	}
}

// ArityOK reports whether a request of n arguments, the name included, has as
// many as the command wants.
func (s *Spec) ArityOK(n int) bool {
	return n == s.Arity || (s.Arity < 0 && n >= -s.Arity)
}

// Has reports whether the command has any of these flags.
func (s *Spec) Has(f Flags) bool { return s.Flags&f != 0 }
