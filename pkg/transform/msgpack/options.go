// Package msgpack reads and writes MessagePack as trees of package value.
package msgpack

// Options say how MessagePack is made of a tree.
type Options struct {
	// Round lets numbers that no integer or double of MessagePack is become the
	// nearest double. Otherwise they are refused.
	Round bool
}
