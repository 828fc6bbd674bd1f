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
