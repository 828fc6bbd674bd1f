package statsd

import (
	"hash/maphash"

	"github.com/dragoman-mesh/dragoman/pkg/statsdproto"
)

// entry is what a line means, but for its value: everything that two lines with
// the same head and the same suffix have in common.
type entry struct {
	hash uint64
	key  string // head and suffix
	head int    // length of the head

	meaning
	typ     statsdproto.Type
	rate    float64
	times   int // observations that one stands for
	badTags int
	tagged  bool
}

// lines finds the entry of a line. It is bounded by keeping two tables, of
// which the older one goes when the newer is full: what is in use is moved to
// the newer in time.
type lines struct {
	seed    maphash.Seed
	most    int // in each table
	young   table
	old     table
	rotated uint64 // how often the older table went
}

// table is a hash table with open addressing. Nothing is removed from it.
type table struct {
	slots []slot // their number is a power of two
	used  int
}

type slot struct {
	hash  uint64
	entry *entry
}

const smallestTable = 256

func newLines(most int) lines {
	return lines{seed: maphash.MakeSeed(), most: max(most/2, smallestTable)}
}

func (l *lines) hash(head, suffix []byte) uint64 {
	const mix = 0x9e3779b97f4a7c15 // makes the order of the two count
	return maphash.Bytes(l.seed, head)*mix ^ maphash.Bytes(l.seed, suffix)
}

// get returns nil when there is none.
func (l *lines) get(hash uint64, head, suffix []byte) *entry {
	if e := l.young.get(hash, head, suffix); e != nil {
		return e
	}
	if l.old.used == 0 {
		return nil
	}
	e := l.old.get(hash, head, suffix)
	if e != nil {
		l.put(e)
	}
	return e
}

// put adds an entry, or one in the place of another with its key.
func (l *lines) put(e *entry) {
	if l.young.used >= l.most {
		l.old, l.young = l.young, table{}
		l.rotated++
	}
	l.young.put(e)
}

func (l *lines) reset() { l.young, l.old = table{}, table{} }

func (t *table) get(hash uint64, head, suffix []byte) *entry {
	if t.used == 0 {
		return nil
	}
	mask := len(t.slots) - 1
	for i := int(hash) & mask; t.slots[i].entry != nil; i = (i + 1) & mask {
		if s := &t.slots[i]; s.hash == hash && s.entry.is(head, suffix) {
			return s.entry
		}
	}
	return nil
}

func (e *entry) is(head, suffix []byte) bool {
	return e.head == len(head) && len(e.key) == len(head)+len(suffix) &&
		e.key[:e.head] == string(head) && e.key[e.head:] == string(suffix)
}

func (t *table) put(e *entry) {
	if 2*t.used >= len(t.slots) {
		t.grow()
	}
	mask := len(t.slots) - 1
	i := int(e.hash) & mask
	for ; t.slots[i].entry != nil; i = (i + 1) & mask {
		if t.slots[i].hash == e.hash && t.slots[i].entry.key == e.key && t.slots[i].entry.head == e.head {
			t.slots[i].entry = e
			return
		}
	}
	t.slots[i] = slot{e.hash, e}
	t.used++
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]slot, max(2*len(old), smallestTable))
	mask := len(t.slots) - 1
	for _, s := range old {
		if s.entry == nil {
			continue
		}
		i := int(s.hash) & mask
		for t.slots[i].entry != nil {
			i = (i + 1) & mask
		}
		t.slots[i] = s
	}
}
