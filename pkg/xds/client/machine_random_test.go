package client

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dragoman-mesh/dragoman/pkg/xds/client/diskset"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestRandomHistories plays random control planes, consumers and networks. All
// along every set that is tried must be complete, and every response must be
// answered once; when things have become quiet and everything is valid, what
// the control plane has must run.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Delta, SotW} {
		for seed := range uint64(120) {
			h := newHistory(t, mode, seed)
			for range 150 {
				h.step()
			}
			h.calm()
			h.check()
			if t.Failed() {
				t.Fatalf("%s, seed %d:\n%s", mode, seed, strings.Join(h.log, "\n"))
			}
		}
	}
}

// history is one run: a world of resources, a control plane that sends it, and a
// consumer.
type history struct {
	t    *testing.T
	m    *machine
	rand *rand.Rand
	mode Mode
	now  time.Time
	log  []string

	world  map[key]string // content, as in the scripts
	number int
	nonce  int

	// of the stream
	subscribed [numKinds]map[string]bool
	asked      [numKinds]bool
	sent       map[key]string
	unanswered map[string]kind // by nonce
	last       [numKinds]string

	trying *candidate
	unfit  map[string]bool // contents that the consumer refuses
}

func newHistory(t *testing.T, mode Mode, seed uint64) *history {
	t.Helper()
	o := Options{Node: &corev3.Node{Id: "n"}, ResourceTimeout: 15 * time.Second, MaxResources: 100}
	h := &history{
		t: t, m: newMachine(o), mode: mode, rand: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1000, 0),
		world: make(map[key]string), unfit: make(map[string]bool),
	}
	for k := range numKinds {
		h.m.parse[k] = func(data []byte) (proto.Message, string, refs, error) { return parseScripted(k, data) }
	}
	return h
}

func (h *history) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

// step is one random event.
func (h *history) step() {
	switch n := h.rand.IntN(20); {
	case n == 1 && !h.m.loaded && !h.m.applied.ever && h.trying == nil:
		h.disk()
	case !h.m.stream.open && n < 8:
		h.open()
	case n == 0 && h.m.stream.open:
		h.note("close")
		h.m.closed()
	case n < 7:
		h.change()
	case n < 14 && h.m.stream.open:
		h.send(kind(h.rand.IntN(int(numKinds))))
	case n < 17:
		h.consume()
	default:
		h.pass(time.Duration(h.rand.IntN(8000)) * time.Millisecond)
	}
	if h.rand.IntN(3) > 0 { // else more comes with it
		h.settle()
	}
}

// disk has the file used, in which stands what may be true or not.
func (h *history) disk() {
	set := &diskset.Set{Node: "n", Server: "then"}
	for range h.rand.IntN(8) {
		h.change()
	}
	for at, content := range h.world {
		if at.kind != secrets && !strings.HasPrefix(content, "!") {
			set.Resources = append(set.Resources, diskset.Resource{
				Name: at.name, Version: content, Body: &anypb.Any{TypeUrl: at.kind.typeURL(), Value: []byte(at.name + "=" + content)},
			})
		}
	}
	for range h.rand.IntN(8) {
		h.change()
	}
	h.note("disk %v", set.Resources)
	h.m.load(h.now, set)
}

func (h *history) open() {
	h.note("open")
	for k := range numKinds {
		h.subscribed[k], h.asked[k], h.last[k] = make(map[string]bool), false, ""
	}
	h.sent, h.unanswered = make(map[key]string), make(map[string]kind)
	h.m.opened(h.now, "A", h.mode)
}

// change changes one resource of the world.
func (h *history) change() {
	k := kind(h.rand.IntN(int(numKinds)))
	at := key{k, fmt.Sprintf("%c%d", "celrsx"[k], h.rand.IntN(3))}
	if h.rand.IntN(4) == 0 {
		h.note("gone %s", at)
		delete(h.world, at)
		return
	}
	h.number++
	content := fmt.Sprintf("v%d", h.number)
	switch {
	case h.rand.IntN(8) == 0:
		content = "!" + content
	case h.rand.IntN(8) == 0:
		h.unfit[content] = true
	}
	var names []string
	for _, c := range map[kind]string{clusters: "es", listeners: "csrx", routes: "c", extensions: "s"}[k] {
		if h.rand.IntN(2) == 0 {
			names = append(names, fmt.Sprintf("%c%d", c, h.rand.IntN(3)))
		}
	}
	if len(names) > 0 {
		content += "(" + strings.Join(names, ",") + ")"
	}
	h.note("put %s=%s unfit=%t", at.name, content, h.unfit[content])
	h.world[at] = content
}

// send tells the client what is new of a type, if it has answered.
func (h *history) send(k kind) {
	if !h.asked[k] || h.outstanding(k) > 0 {
		return
	}
	news, gone := make(map[string]string), []string(nil)
	differs := false
	for at, content := range h.world {
		if at.kind == k && (k.wildcard() || h.subscribed[k][at.name]) {
			if h.sent[at] != content {
				differs = true
				news[at.name] = content
			} else if h.mode == SotW {
				news[at.name] = content
			}
		}
	}
	for at := range h.sent {
		if _, there := h.world[at]; at.kind == k && !there {
			gone, differs = append(gone, at.name), true
			delete(h.sent, at)
		}
	}
	if !differs && h.last[k] != "" {
		return
	}
	h.nonce++
	nonce := fmt.Sprint(h.nonce)
	h.unanswered[nonce], h.last[k] = k, nonce
	for name, content := range news {
		h.sent[key{k, name}] = content
	}
	h.note("send %s %s: %v -%v", k.short(), nonce, news, gone)
	h.m.receive(h.now, h.message(k, nonce, news, gone))
}

func (h *history) message(k kind, nonce string, news map[string]string, gone []string) message {
	body := func(name string) *anypb.Any {
		return &anypb.Any{TypeUrl: k.typeURL(), Value: []byte(name + "=" + news[name])}
	}
	if h.mode == SotW {
		p := &discoveryv3.DiscoveryResponse{TypeUrl: k.typeURL(), Nonce: nonce, VersionInfo: nonce}
		for _, name := range slices.Sorted(maps.Keys(news)) {
			p.Resources = append(p.Resources, body(name))
		}
		return fromSotW(p)
	}
	p := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: k.typeURL(), Nonce: nonce, RemovedResources: gone}
	for _, name := range slices.Sorted(maps.Keys(news)) {
		number, _, _ := strings.Cut(news[name], "(")
		p.Resources = append(p.Resources, &discoveryv3.Resource{Name: name, Version: number, Resource: body(name)})
	}
	return fromDelta(p)
}

func (h *history) outstanding(k kind) (n int) {
	for _, of := range h.unanswered {
		if of == k {
			n++
		}
	}
	return n
}

// consume ends the attempt that is under way.
func (h *history) consume() {
	if h.trying == nil {
		return
	}
	var errs resource.Errors
	for _, v := range h.trying.chosen {
		if content := contentOf(v); h.unfit[content] {
			errs = append(errs, &resource.Error{TypeURL: v.key.kind.typeURL(), Name: v.key.name, Reason: "unfit " + content})
		}
	}
	h.trying = nil
	switch {
	case len(errs) == 0:
		h.note("runs")
		h.m.done(h.now, nil)
	case h.rand.IntN(3) == 0:
		h.note("fails, it is not known why")
		h.m.done(h.now, errors.New("something is wrong"))
	default:
		h.note("fails: %v", errs)
		h.m.done(h.now, errs)
	}
}

func contentOf(v *version) string {
	if v.synthetic {
		return ""
	}
	_, content, _ := strings.Cut(stringOf(v.msg), "=")
	return content
}

func (h *history) pass(d time.Duration) {
	h.now = h.now.Add(d)
	h.m.tick(h.now)
}

// settle has the machine act, and looks at what it does.
func (h *history) settle() {
	h.m.tick(h.now)
	h.m.settle(h.now)
	todo := h.m.take()
	for _, r := range todo.requests {
		switch r := r.(type) {
		case *discoveryv3.DeltaDiscoveryRequest:
			h.hearDelta(r)
		case *discoveryv3.DiscoveryRequest:
			h.hearSotW(r)
		}
	}
	// Nothing that is left out to save time would have made a difference.
	h.m.moved, h.m.reshaped = true, true
	h.m.settle(h.now)
	if more := h.m.take(); len(more.requests) > 0 || more.start != nil {
		h.t.Errorf("there was more to do: %+v", more)
	}
	if todo.start != nil {
		h.note("try %s", describe(todo.start))
		h.trying = todo.start
		h.complete(todo.start)
	}
}

func (h *history) hearDelta(r *discoveryv3.DeltaDiscoveryRequest) {
	k, _ := kindOf(r.GetTypeUrl())
	if !h.asked[k] {
		for name, version := range r.GetInitialResourceVersions() {
			at := key{k, name}
			h.sent[at] = version
			if number, _, _ := strings.Cut(h.world[at], "("); number == version {
				h.sent[at] = h.world[at]
			}
		}
	}
	h.asked[k] = true
	for _, name := range r.GetResourceNamesSubscribe() {
		h.subscribed[k][name] = true
	}
	for _, name := range r.GetResourceNamesUnsubscribe() {
		delete(h.subscribed[k], name)
		delete(h.sent, key{k, name})
	}
	h.answered(k, r.GetResponseNonce(), r.GetErrorDetail().GetMessage())
}

func (h *history) hearSotW(r *discoveryv3.DiscoveryRequest) {
	k, _ := kindOf(r.GetTypeUrl())
	h.asked[k] = true
	if !k.wildcard() {
		clear(h.subscribed[k])
		for _, name := range r.GetResourceNames() {
			h.subscribed[k][name] = true
		}
		for at := range h.sent {
			if at.kind == k && !h.subscribed[k][at.name] {
				delete(h.sent, at)
			}
		}
	}
	h.answered(k, r.GetResponseNonce(), r.GetErrorDetail().GetMessage())
}

// answered takes an answer, of which there must be one, and perhaps another one
// that accepts the newest response after all.
func (h *history) answered(k kind, nonce, problem string) {
	if nonce == "" {
		return
	}
	h.note("answer %s %s %s", k.short(), nonce, problem)
	if of, there := h.unanswered[nonce]; there && of != k {
		h.t.Errorf("response %s of %s is answered as one of %s", nonce, of.short(), k.short())
	} else if !there && (nonce != h.last[k] || problem != "") {
		h.t.Errorf("response %s of %s is answered twice", nonce, k.short())
	}
	delete(h.unanswered, nonce)
}

// complete reports what a set refers to and lacks.
func (h *history) complete(c *candidate) {
	for _, v := range c.chosen {
		for k := range numKinds {
			for _, name := range v.refs[k] {
				if c.chosen[key{k, name}] == nil {
					h.t.Errorf("%s is tried without %s", v.key, key{k, name})
				}
			}
		}
	}
}

// calm makes everything valid and complete, and lets all come to an end.
func (h *history) calm() {
	h.note("calm")
	clear(h.unfit)
	for at, content := range h.world {
		h.number++
		number, list, refers := strings.Cut(content, "(")
		content = fmt.Sprintf("%s.%d", strings.TrimPrefix(number, "!"), h.number)
		var names []string
		if refers {
			for name := range strings.SplitSeq(strings.TrimSuffix(list, ")"), ",") {
				if _, there := h.world[key{kindOfScripted(name), name}]; there {
					names = append(names, name)
				}
			}
		}
		if len(names) > 0 {
			content += "(" + strings.Join(names, ",") + ")"
		}
		h.world[at] = content
	}
	if !h.m.stream.open {
		h.open()
	}
	for range 100 {
		h.settle()
		for k := range numKinds {
			h.send(k)
		}
		h.settle()
		h.consume()
		h.pass(time.Second)
	}
}

// check compares what runs with what the control plane has.
func (h *history) check() {
	if len(h.unanswered) > 0 {
		h.t.Errorf("never answered: %v", h.unanswered)
	}
	want := make(map[key]string)
	for at := range h.world {
		if at.kind.wildcard() {
			h.reach(want, at)
		}
	}
	got := make(map[key]string)
	h.m.each(func(e *entry) {
		if e.running != nil {
			got[e.key] = contentOf(e.running)
		}
	})
	if !maps.Equal(got, want) {
		h.t.Errorf("it runs\n%v, want\n%v", got, want)
	}
	if len(h.m.waits) > 0 || h.trying != nil || !h.m.deadline().IsZero() && h.mode == Delta && !h.deadlineIsHarmless() {
		h.t.Errorf("it does not come to rest: waits %v, trying %v", h.m.waits, h.trying)
	}
}

// deadlineIsHarmless says that only the confirmation of what the file has is
// due, which comes once.
func (h *history) deadlineIsHarmless() bool {
	return !h.m.types[clusters].confirmBy.IsZero() || !h.m.types[listeners].confirmBy.IsZero()
}

func (h *history) reach(into map[key]string, at key) {
	if _, done := into[at]; done {
		return
	}
	into[at] = h.world[at]
	_, list, refers := strings.Cut(h.world[at], "(")
	if !refers {
		return
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(list, ")"), ",") {
		h.reach(into, key{kindOfScripted(name), name})
	}
}
