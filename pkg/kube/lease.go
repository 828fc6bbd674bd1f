package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// term is what a Lease says. Two that are the same tell of no renewal.
type term struct {
	holder   string
	renewed  time.Time     // by the holder's clock; zero: the Lease does not say
	duration time.Duration // zero: the term never ends
	number   int32
}

func termOf(in *coordinationv1.Lease) *term {
	s, out := &in.Spec, &term{}
	if s.HolderIdentity != nil {
		out.holder = *s.HolderIdentity
	}
	if s.RenewTime != nil {
		out.renewed = s.RenewTime.Time
	}
	if s.LeaseDurationSeconds != nil {
		out.duration = time.Duration(*s.LeaseDurationSeconds) * time.Second
	}
	if s.LeaseTransitions != nil {
		out.number = *s.LeaseTransitions
	}
	return out
}

// left is how long a term goes on from now. Of the first that is seen only its
// own clock tells; of one that was seen to be renewed ours does, as the candidates
// do it: clocks may differ.
func (t *term) left(first bool, now time.Time) time.Duration {
	if !first || t.renewed.IsZero() {
		return t.duration
	}
	return min(t.renewed.Add(t.duration).Sub(now), t.duration)
}

// tenure is who leads by a Lease.
type tenure struct {
	holder  string
	expired bool
}

// overseer follows one Lease and sees when its holder fails to renew it. An API
// server that is frozen or away shows no renewals either, and a watch says nothing
// of that for a while: so before a term is believed to be over the Lease is looked
// at, and while it cannot be, the leader that was known last stays.
type overseer struct {
	// Read-only after construction.
	put  func(l *tenure, at time.Time)
	look func() (*term, error) // what the Lease says now; nil: there is none

	looking sync.WaitGroup

	mu    sync.Mutex // guards below
	last  *term
	until time.Time
	timer *time.Timer // nil: none runs
	blind bool        // the Lease could not be looked at the last time
	ended bool
}

// set takes what the Lease says; nil: it is gone.
func (o *overseer) set(_ inventory.Key, t *term, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.setLocked(t, at)
}

func (o *overseer) setLocked(t *term, at time.Time) {
	if o.ended || t != nil && o.last != nil && *t == *o.last {
		return
	}
	first := o.last == nil
	o.last = t
	if t == nil {
		o.put(nil, at)
		return
	}
	left := t.left(first, at)
	expired := t.duration > 0 && left <= 0
	if t.duration > 0 && !expired {
		o.armLocked(at.Add(left))
	}
	o.put(&tenure{holder: t.holder, expired: expired}, at)
}

func (o *overseer) armLocked(until time.Time) {
	if o.timer != nil {
		o.timer.Stop()
	}
	o.until = until
	o.timer = time.AfterFunc(time.Until(until), o.expire)
}

// expire ends a term that was not renewed, if the API server says so, too.
func (o *overseer) expire() {
	o.mu.Lock()
	due := o.dueLocked()
	asked := o.last
	if due {
		o.looking.Add(1)
	}
	o.mu.Unlock()
	if !due {
		return
	}
	defer o.looking.Done()
	now, err := o.look()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last == asked && o.dueLocked() { // else a renewal came meanwhile
		o.judgeLocked(now, err)
	}
}

// dueLocked reports whether there is a term whose time is over.
func (o *overseer) dueLocked() bool {
	return !o.ended && o.last != nil && o.last.duration > 0 && !time.Now().Before(o.until)
}

// judgeLocked takes what was seen at the end of a term.
func (o *overseer) judgeLocked(seen *term, err error) {
	now, blind := time.Now(), o.blind
	o.blind = err != nil
	switch {
	case err != nil, blind && seen != nil && *seen == *o.last:
		// A holder that could not renew has as much time for it as at any time.
		o.armLocked(now.Add(o.last.duration))
	case seen != nil && *seen != *o.last:
		o.setLocked(seen, now)
	default:
		o.put(&tenure{holder: o.last.holder, expired: true}, now)
	}
}

// stop ends it; nothing is put afterwards. A look that is under way is waited for.
func (o *overseer) stop() {
	o.mu.Lock()
	o.ended = true
	if o.timer != nil {
		o.timer.Stop()
	}
	o.mu.Unlock()
	o.looking.Wait()
}

// lookLimit bounds one look at a Lease whose time is over.
const lookLimit = 5 * time.Second

// lookAtLease asks the API server; nil: there is no such Lease.
func (w *wanted) lookAtLease(ctx context.Context, ref inventory.Ref, byName func(*metav1.ListOptions)) (*term, error) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	var options metav1.ListOptions
	byName(&options)
	list, err := w.clients.Typed.CoordinationV1().Leases(ref.Namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("looking at the Lease %s: %w", ref.Key, err)
	}
	if len(list.Items) == 0 {
		return nil, nil
	}
	return termOf(&list.Items[0]), nil
}

// leaseFeed makes what follows one Lease.
func (w *wanted) leaseFeed(ref inventory.Ref, watch *namedWatch, byName func(*metav1.ListOptions)) func(ctx context.Context) {
	o := &overseer{put: func(l *tenure, at time.Time) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !watch.stopped {
			w.leases(ref.Key, l, at)
		}
	}}
	f := newFeed(watch.health, &coordinationv1.Lease{}, termOf, o.set)
	lw := follow(w.clients.Typed.CoordinationV1().Leases(ref.Namespace), watch.health, byName)
	return func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		defer o.stop()
		defer cancel()
		o.look = func() (*term, error) { return w.lookAtLease(ctx, ref, byName) }
		f.run(ctx, lw)
	}
}

// held is a Lease, as far as the assembly knows.
type held struct {
	tenure
	pod inventory.Key
	// uid is that of the pod when the Lease was last renewed: one that came back
	// under the same name has not won yet. "": the pod was not known then.
	uid string
}

// setLease takes who leads by a Lease, after each renewal; nil: it is gone.
func (a *assembly) setLease(k inventory.Key, l *tenure, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.leases[k]; old != nil {
		list := slices.DeleteFunc(a.elected[old.pod], func(other inventory.Key) bool { return other == k })
		if len(list) == 0 {
			delete(a.elected, old.pod)
		} else {
			a.elected[old.pod] = list
		}
	}
	delete(a.leases, k)
	a.markLocked(inventory.KindLease, k, at)
	if l == nil {
		return
	}
	// Candidates of client-go add _ and something random, which no pod's name has.
	name, _, _ := strings.Cut(l.holder, "_")
	h := &held{tenure: *l, pod: inventory.Key{Namespace: k.Namespace, Name: name}}
	if p := a.pods[h.pod]; p != nil {
		h.uid = p.UID
	}
	a.leases[k] = h
	a.elected[h.pod] = append(a.elected[h.pod], k)
}

// electedLocked marks the Leases that a pod holds.
func (a *assembly) electedLocked(pod inventory.Key, at time.Time) {
	for _, lease := range a.elected[pod] {
		a.markLocked(inventory.KindLease, lease, at)
	}
}

func (a *assembly) leaseLocked(k inventory.Key) *inventory.Lease {
	h := a.leases[k]
	if h == nil {
		return nil
	}
	out := &inventory.Lease{Key: k, Holder: h.holder, Expired: h.expired}
	p := a.podLocked(h.pod)
	if p == nil || h.uid != "" && h.uid != p.UID {
		return out
	}
	h.uid = p.UID
	out.Pod, out.IPs, out.Zone = p.Name, p.IPs, p.Zone
	return out
}

func sameLease(a, b *inventory.Lease) bool {
	return a != nil && b != nil && a.Key == b.Key && a.Holder == b.Holder && a.Expired == b.Expired &&
		a.Pod == b.Pod && a.Zone == b.Zone && slices.Equal(a.IPs, b.IPs)
}
