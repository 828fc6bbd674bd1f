package client

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// reply is a response that has not been answered yet.
type reply struct {
	nonce    string
	number   string
	versions []*version      // that it brought and that are valid
	removed  []key           // that it took out
	errs     resource.Errors // of those that are not
	// notBefore holds a NACK back.
	notBefore time.Time
	hurry     bool            // but not longer, because names go with it
	final     resource.Errors // with notBefore: why it is a NACK
}

// nackPace keeps a server that answers a NACK with the same again at once from
// doing so without end. With state of the world each further NACK of a version
// comes later; and in no protocol does a type get more than one a second for
// long.
type nackPace struct {
	number string
	pause  time.Duration

	burst int       // NACKs without a pause since it was quiet
	last  time.Time // when the last of them was due
}

const (
	firstNackPause = time.Second
	lastNackPause  = 30 * time.Second
	nackBurst      = 10
)

// again gives the pause before a version of a state of the world is refused
// (again).
func (p *nackPace) again(number string) time.Duration {
	if p.number != number {
		p.number, p.pause = number, 0
		return 0
	}
	p.pause = min(max(2*p.pause, firstNackPause), lastNackPause)
	return p.pause
}

// due gives the time at which another NACK may go out.
func (p *nackPace) due(now time.Time) time.Time {
	if now.Sub(p.last) > nackBurst*firstNackPause {
		p.burst = 0
	}
	if p.burst++; p.burst > nackBurst {
		if next := p.last.Add(firstNackPause); next.After(now) {
			now = next
		}
	}
	p.last = now
	return now
}

// accepted forgets the version that was refused.
func (p *nackPace) accepted() { p.number, p.pause = "", 0 }

// answer sends the ACKs and NACKs of a type that are due, in order.
func (m *machine) answer(k kind, now time.Time) {
	t := &m.types[k]
	if !m.stream.open {
		return
	}
	for len(t.replies) > 0 {
		r := t.replies[0]
		if r.notBefore.IsZero() {
			errs, settled := m.outcome(k, r)
			if !settled {
				return
			}
			m.pace(t, r, errs, now)
		}
		if now.Before(r.notBefore) && !r.hurry {
			return
		}
		t.replies = t.replies[1:]
		m.reply(k, now, r)
	}
	m.mended(k)
}

// pace decides when an answer is sent.
func (m *machine) pace(t *typeState, r *reply, errs resource.Errors, now time.Time) {
	r.notBefore, r.final = now, errs
	if len(errs) == 0 {
		return
	}
	r.notBefore = t.held.due(now)
	if m.stream.mode == SotW {
		if later := now.Add(t.held.again(r.number)); later.After(r.notBefore) {
			r.notBefore = later
		}
	}
}

// outcome says how a response has fared; settled is false while that is open.
func (m *machine) outcome(k kind, r *reply) (errs resource.Errors, settled bool) {
	errs = append(errs, r.errs...)
	for _, k := range r.removed {
		if e := m.entry(k); m.attempt != nil && e != nil && e.offered == nil && e.running != nil {
			return nil, false // it is being taken out, now or next
		}
	}
	ev := m.evaluate()
	for _, v := range r.versions {
		e := m.entry(v.key)
		switch {
		case m.attempt != nil && m.attempt.chosen[v.key] == v && (e == nil || e.running != v):
			return nil, false
		case v.refused != nil:
			errs = append(errs, v.refused...)
		case e == nil || e.offered != v || e.running == v:
			// replaced, removed, or it runs
		default:
			late, open := m.unsettled(k, ev, v)
			if open {
				return nil, false
			}
			errs = append(errs, late...)
		}
	}
	return errs, true
}

// unsettled says whether it must be waited for what becomes of a version that
// does not run, and if not, what is wrong with it.
func (m *machine) unsettled(k kind, ev *evaluation, v *version) (errs resource.Errors, open bool) {
	j := ev.judge(v)
	if k == listeners && j.verdict == missing {
		return resource.Errors{{TypeURL: k.typeURL(), Name: v.key.name, Reason: j.text()}}, false
	}
	if k == listeners {
		return nil, true
	}
	// Others wait for nothing but their turn, if they have one.
	return nil, m.attempt != nil && j.verdict == ready && m.applied.ever
}

// reply sends the answer.
func (m *machine) reply(k kind, now time.Time, r *reply) {
	t := &m.types[k]
	if len(r.final) == 0 {
		m.events.acks[k]++
		t.number = r.number
		t.held.accepted()
		m.send(k, r.nonce, nil)
		return
	}
	if len(r.errs) == 0 && r.nonce == t.nonce {
		t.mendable = r
	}
	m.events.nacks[k]++
	status := nackStatus(r.final)
	m.noteNack(now, k.typeURL(), r.number, r.nonce, status.GetMessage())
	m.send(k, r.nonce, status)
}

// mended acknowledges the newest response after all, if everything that it
// brought runs now.
func (m *machine) mended(k kind) {
	t := &m.types[k]
	r := t.mendable
	if r == nil || len(t.replies) > 0 || r.nonce != t.nonce {
		return
	}
	for _, v := range r.versions {
		if e := m.entry(v.key); e == nil || e.running != v {
			return
		}
	}
	t.mendable, t.number = nil, r.number
	t.held.accepted()
	m.events.acks[k]++
	m.send(k, r.nonce, nil)
}

// maxUnknown bounds the answers to responses of types that nobody asked for.
const maxUnknown = 64

// refuseUnknown answers a response of a type that nobody asked for, unless there
// is no end of them.
func (m *machine) refuseUnknown(now time.Time, msg message) {
	if m.stream.unknown++; m.stream.unknown > maxUnknown {
		return
	}
	reason := fmt.Sprintf("type %q is not known to this proxy", shorten(msg.typeURL, maxNackName))
	m.noteNack(now, msg.typeURL, msg.version, msg.nonce, reason)
	m.todo.requests = append(m.todo.requests, m.request(msg.typeURL, msg.nonce, &statuspb.Status{
		Code: int32(codes.InvalidArgument), Message: reason,
	}))
}

const keptNacks = 16

func (m *machine) noteNack(now time.Time, typeURL, version, nonce, reason string) {
	nack := Nack{At: now, TypeURL: typeURL, Version: version, Nonce: nonce, Reason: reason}
	m.todo.refused = append(m.todo.refused, nack)
	last := append(m.events.lastNacks, nack)
	m.events.lastNacks = last[max(0, len(last)-keptNacks):]
}

// Bounds of a NACK, so that it fits into what a server takes and keeps.
const (
	maxNackErrors = 32
	maxNackReason = 512     // bytes of one reason
	maxNackName   = 1 << 10 // bytes of one name
	maxNackText   = 4 << 10 // bytes of the message
)

// nackStatus is what a NACK carries: one line for each error, and the same as a
// google.rpc.ResourceInfo each (resource_type is the type URL, description
// "path: reason").
func nackStatus(errs resource.Errors) *statuspb.Status {
	status := &statuspb.Status{Code: int32(codes.InvalidArgument)}
	var b strings.Builder
	for i, err := range errs {
		short := resource.Error{
			TypeURL: shorten(err.TypeURL, maxNackName), Name: shorten(err.Name, maxNackName),
			Path: shorten(err.Path, maxNackReason), Reason: shorten(err.Reason, maxNackReason),
		}
		line := short.Error()
		if i == maxNackErrors || b.Len()+len(line) > maxNackText-32 {
			fmt.Fprintf(&b, "\nand %d more", len(errs)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(line)
		info := &errdetails.ResourceInfo{ResourceType: short.TypeURL, ResourceName: short.Name, Description: short.Reason}
		if short.Path != "" {
			info.Description = short.Path + ": " + short.Reason
		}
		if packed, err := anypb.New(info); err == nil {
			status.Details = append(status.Details, packed)
		}
	}
	status.Message = b.String()
	return status
}

// shorten cuts a text, and makes it one line of valid UTF-8, which the wire
// demands.
func shorten(s string, most int) string {
	if len(s) > most {
		end := most
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end] + "..."
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\n", "; ")
}
