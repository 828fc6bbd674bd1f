package client

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// receive takes a response in. What follows from it is settle's to find.
func (m *machine) receive(now time.Time, msg message) {
	m.moved, m.online = m.moved || !m.online, true
	m.events.lastContact = now
	k, known := kindOf(msg.typeURL)
	if !known {
		m.events.unknown++
		m.refuseUnknown(now, msg)
		return
	}
	m.events.messages[k]++
	m.events.resources[k] += uint64(len(msg.resources))
	t := &m.types[k]
	m.moved = m.moved || !t.answered
	t.answered, t.nonce, t.seen, t.mendable = true, msg.nonce, msg.version, nil
	if msg.whole {
		t.replies = nil // their nonces are of no use any more
	}
	in := intake{m: m, t: t, kind: k, now: now, seen: make(map[string]bool, len(msg.resources))}
	in.reply = &reply{nonce: msg.nonce, number: msg.version}
	for _, name := range msg.removed {
		in.removed(name)
	}
	for i := range msg.resources {
		in.resource(&msg.resources[i])
	}
	if msg.whole && k.wildcard() && !in.nameless {
		in.absent()
	}
	t.replies = append(t.replies, in.reply)
}

// intake is one response being taken in.
type intake struct {
	m        *machine
	t        *typeState
	kind     kind
	now      time.Time
	seen     map[string]bool
	nameless bool // of some resource the name could not be read
	count    int  // resources that are held; 0: not counted yet
	reply    *reply
}

// fail adds to the reasons why the response is refused.
func (in *intake) fail(name, path, format string, args ...any) {
	in.reply.errs = append(in.reply.errs, &resource.Error{
		TypeURL: in.kind.typeURL(), Name: name, Path: path, Reason: fmt.Sprintf(format, args...),
	})
}

// resource takes one in, or adds to the reasons.
func (in *intake) resource(r *incoming) {
	switch {
	case r.err != nil:
		in.nameless = in.nameless || r.name == ""
		in.seen[r.name] = true
		in.fail(r.name, "", "%s", r.err)
	case r.body == nil:
		in.heartbeat(r)
	case r.body.GetTypeUrl() != in.kind.typeURL():
		in.nameless = in.nameless || r.name == ""
		in.seen[r.name] = true
		in.fail(r.name, "", "is a %q in a response of type %q", r.body.GetTypeUrl(), in.kind.typeURL())
	case r.name != "" && in.seen[r.name]:
		in.fail(r.name, "name", "is there twice in one response")
	case !in.known(r):
		in.parse(r)
	}
}

// heartbeat renews the TTL of what is there.
func (in *intake) heartbeat(r *incoming) {
	in.seen[r.name] = true
	if r.ttl <= 0 {
		in.fail(r.name, "", "has no content")
		return
	}
	if e := in.t.entries[r.name]; e != nil && e.offered != nil {
		in.ttl(e, r)
	}
}

// known reports whether the very same bytes are there already, which needs no
// second look.
func (in *intake) known(r *incoming) bool {
	e := in.t.entries[r.name]
	if r.name == "" || e == nil {
		return false
	}
	sum := sumOf(r.body)
	if e.offered == nil || e.offered.sum != sum || e.offered.synthetic {
		return false
	}
	in.again(e, r)
	return true
}

// again takes a version that is there already.
func (in *intake) again(e *entry, r *incoming) {
	in.seen[e.key.name] = true
	v := e.offered
	in.m.offer(e, v)
	v.number, v.disk = r.version, false
	in.ttl(e, r)
	in.reply.versions = append(in.reply.versions, v)
}

func (in *intake) ttl(e *entry, r *incoming) {
	if r.ttl > 0 {
		in.m.ttls = true
		e.expires = in.now.Add(r.ttl)
	}
}

// parse validates a resource and offers it.
func (in *intake) parse(r *incoming) {
	msg, name, found, err := in.m.parse[in.kind](r.body.GetValue())
	if msg == nil {
		in.nameless = in.nameless || r.name == ""
		in.seen[r.name] = true
		in.refuse(r.name, resource.Errors{{
			TypeURL: in.kind.typeURL(), Name: r.name, Reason: fmt.Sprintf("cannot be decoded: %v", err),
		}})
		return
	}
	if r.name != "" && name != r.name {
		in.seen[r.name] = true
		in.fail(r.name, "name", "is %q, but %q in the response around it", name, r.name)
		return
	}
	if in.seen[name] {
		in.fail(name, "name", "is there twice in one response")
		return
	}
	in.seen[name] = true
	if !in.kind.wildcard() && !in.t.wanted[name] {
		return // nobody asks for it, or not any more
	}
	if err != nil {
		in.refuse(name, asErrors(err, in.kind, name))
		return
	}
	in.offer(&version{
		key: key{in.kind, name}, number: r.version, sum: sumOf(r.body), msg: msg, refs: found,
	}, r)
}

// offer makes a valid resource the newest version of its name.
func (in *intake) offer(v *version, r *incoming) {
	if in.t.entries[v.key.name] == nil && !in.room() {
		in.fail(v.key.name, "", "is more than the %d resources of this type that the proxy holds", in.m.most)
		return
	}
	e := in.m.make(v.key)
	switch {
	case e.offered != nil && !e.offered.synthetic && proto.Equal(e.offered.msg, v.msg):
		e.offered.sum = v.sum // the same in other bytes
		in.again(e, r)
		return
	case e.parked != nil && e.parked.sum == v.sum && e.parkedAt == in.m.changes:
		// It was refused, and nothing has changed that could mend it.
		in.reply.versions = append(in.reply.versions, e.parked)
		return
	case e.parked == nil || e.parked.sum != v.sum:
		in.m.changed(in.kind)
		in.m.ignore(v)
	}
	in.m.offer(e, v)
	in.ttl(e, r)
	in.reply.versions = append(in.reply.versions, v)
}

// room reports whether one more resource may be held.
func (in *intake) room() bool {
	if in.count == 0 {
		for _, e := range in.t.entries {
			if e.offered != nil || e.refused != nil {
				in.count++
			}
		}
	}
	in.count++
	return in.count <= in.m.most
}

// refuse keeps what was there before and remembers why.
func (in *intake) refuse(name string, errs resource.Errors) {
	in.reply.errs = append(in.reply.errs, errs...)
	e := in.t.entries[name]
	if e == nil {
		if name == "" || !in.room() {
			return
		}
		e = in.m.make(key{in.kind, name})
	}
	e.refused, e.parked = errs, nil
	in.m.reshaped, in.m.moved = true, true
}

// removed takes a resource out.
func (in *intake) removed(name string) {
	if e := in.t.entries[name]; e != nil && (e.offered != nil || e.refused != nil) {
		in.remove(e)
	}
	if in.t.wanted[name] {
		in.m.absent(key{in.kind, name}, in.now)
	}
}

// absent takes out what a whole response does not mention.
func (in *intake) absent() {
	for name, e := range in.t.entries {
		if !in.seen[name] && (e.offered != nil || e.refused != nil) {
			in.remove(e)
		}
	}
}

func (in *intake) remove(e *entry) {
	in.m.drop(e)
	in.reply.removed = append(in.reply.removed, e.key)
}

func sumOf(body *anypb.Any) [sha256.Size]byte { return sha256.Sum256(body.GetValue()) }

// asErrors gives every error the resource's name.
func asErrors(err error, k kind, name string) resource.Errors {
	if errs, ok := errors.AsType[resource.Errors](err); ok {
		return errs
	}
	if one, ok := errors.AsType[*resource.Error](err); ok {
		return resource.Errors{one}
	}
	return resource.Errors{{TypeURL: k.typeURL(), Name: name, Reason: err.Error()}}
}
