package postgres

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// Bounds of what is kept of prepared statements.
const (
	// maxParse is the longest Parse, in bytes: it has to be read whole.
	maxParse = 16 << 20
	// maxKeptUnnamed is the longest unnamed statement that is remembered, in bytes;
	// a session keeps its server for a longer one.
	maxKeptUnnamed = 64 << 10
	// maxNames and maxNamedBytes bound what one session prepares.
	maxNames      = 10_000
	maxNamedBytes = 64 << 20
	// maxName is the longest name of a statement or portal, in bytes.
	maxName = 1 << 10
)

// statement is a prepared statement by what it says: sessions that prepare the
// same, under whatever names, share it at a server.
type statement struct {
	key   string // what tells it from others: settings that the server reads it by, and body
	body  string // the payload of Parse behind the name
	name  string // at servers, if need be with something behind it
	refs  int    // sessions' names and servers that have it
	hints hint
	// epoch is the pool's when it was prepared first: who prepares the same text later
	// may be told other types, and has another statement.
	epoch uint64
	// proven is the pool's epoch in which a server has taken it; [stale]: none has.
	proven uint64
	// types are those of the parameters, as Parse declares them, once a server has
	// described them.
	types string
}

// named is a session's prepared statement.
type named struct {
	*statement
	as       string
	doubtful bool // what it speaks of was not there when it was used
	strange  bool // it was prepared where names meant something else: see poolServer.strange
}

// statements are those of a group: in another database, or with another search_path
// to begin with, the same text speaks of other things.
type statements struct {
	byKey map[string]*statement
	last  uint64 // in names
	key   []byte // to look up without memory
}

// of returns the statement for a payload behind the name, as it is understood
// with the given settings in an epoch. The caller takes a reference.
func (t *statements) of(vars *settings, assigned *assignments, body []byte, epoch uint64) *statement {
	if st := t.known(vars, assigned, body); st != nil && st.epoch == epoch {
		return st
	}
	t.last++
	key := string(t.key)
	st := &statement{key: key, body: key[len(key)-len(body):], name: "dragoman_" + strconv.FormatUint(t.last, 36), hints: hintsOf(body), epoch: epoch}
	if st.hints&hintCut != 0 {
		st.hints |= hintsBehind(body)
	}
	t.byKey[key] = st
	return st
}

// known is of for a statement that is there already, in whatever epoch; nil: it is not.
func (t *statements) known(vars *settings, assigned *assignments, body []byte) *statement {
	return t.byKey[string(keyFor(t, vars, assigned, body))]
}

// fits reports whether the settings are those that a statement is understood by.
func (t *statements) fits(st *statement, vars *settings, assigned *assignments) bool {
	return string(keyFor(t, vars, assigned, st.body)) == st.key
}

// keyFor makes the key of a statement, which is valid until the next.
func keyFor[T []byte | string](t *statements, vars *settings, assigned *assignments, body T) []byte {
	t.key = vars.appendMeaning(t.key[:0])
	if assigned != nil {
		t.key = append(t.key, assigned.key...)
	}
	t.key = append(t.key, body...)
	return t.key
}

// hold takes a reference.
func (t *statements) hold(st *statement) {
	if st.refs++; t.byKey[st.key] == nil {
		t.byKey[st.key] = st // it had none for a moment
	}
}

func (t *statements) drop(st *statement) {
	if st.refs--; st.refs <= 0 && t.byKey[st.key] == st {
		delete(t.byKey, st.key)
	}
}

// firstUserOID is the first number of what users make (FirstNormalObjectId); those
// below are the same at each server.
const firstUserOID = 16384

// described takes a ParameterDescription of a server. Where the statement has to be
// prepared again, it has the types that drivers were told: they might send, in binary,
// what would be taken for something else. Types that users have made may have other
// numbers at another server: they stay as the client has declared them, if at all.
func (st *statement) described(payload []byte) {
	if st.types != "" || len(payload) <= 2 {
		return
	}
	types, declared := bytes.Clone(payload), st.body[strings.IndexByte(st.body, 0)+1:]
	for i := 2; i+4 <= len(types); i += 4 {
		if binary.BigEndian.Uint32(types[i:]) < firstUserOID {
			continue
		}
		clear(types[i : i+4])
		if i+4 <= len(declared) {
			copy(types[i:], declared[i:i+4])
		}
	}
	st.types = string(types)
}

// typed is body with the types of its parameters, as far as they are known.
func (st *statement) typed() string {
	if st.types == "" {
		return st.body
	}
	return st.body[:strings.IndexByte(st.body, 0)+1] + st.types
}

// forget is for a statement that nobody has taken a reference to.
func (t *statements) forget(st *statement) {
	t.hold(st)
	t.drop(st)
}

// appendParse appends Parse under a name.
func appendParse(dst []byte, name, body string) []byte {
	dst = pgproto.AppendHead(dst, pgproto.TypeParse, len(name)+1+len(body))
	dst = append(append(dst, name...), 0)
	return append(dst, body...)
}

// prepared is a statement that a server has.
type prepared struct {
	stmt       *statement
	name       string
	epoch      uint64 // of the pool, when it was prepared
	strange    bool   // it may mean something else than stmt: see poolServer.strange
	prev, next *prepared
}

// preparedList is what a server has, the latest used first. The zero value is
// empty.
type preparedList struct {
	of   map[*statement]*prepared
	root *prepared // of a ring; nil until there is something
}

// use returns the entry of a statement, now the latest used; nil if the server
// does not have it.
func (l *preparedList) use(st *statement) *prepared {
	if l.root == nil {
		return nil
	}
	if p := l.root.next; p.stmt == st { // the root has none
		return p
	}
	p := l.of[st]
	if p != nil {
		p.unlink()
		l.link(p)
	}
	return p
}

func (l *preparedList) add(t *statements, st *statement, epoch uint64, again bool) *prepared {
	p := &prepared{stmt: st, name: st.name, epoch: epoch}
	if again {
		t.last++
		p.name += "_" + strconv.FormatUint(t.last, 36)
	}
	t.hold(st)
	if l.root == nil {
		l.of, l.root = map[*statement]*prepared{}, &prepared{}
		l.root.prev, l.root.next = l.root, l.root
	}
	l.of[st] = p
	l.link(p)
	return p
}

func (l *preparedList) link(p *prepared) {
	p.prev, p.next = l.root, l.root.next
	p.next.prev, l.root.next = p, p
}

func (p *prepared) unlink() { p.prev.next, p.next.prev = p.next, p.prev }

// oldest returns the statement that was not used for longest.
func (l *preparedList) oldest() *statement { return l.root.prev.stmt }

func (l *preparedList) remove(t *statements, st *statement) {
	if p := l.of[st]; p != nil {
		p.unlink()
		delete(l.of, st)
		t.drop(st)
	}
}

func (l *preparedList) clear(t *statements) {
	for st := range l.of {
		t.drop(st)
	}
	*l = preparedList{}
}
