package client

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
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
	if todo.reopen {
		h.note("reopen")
		h.m.closed()
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
