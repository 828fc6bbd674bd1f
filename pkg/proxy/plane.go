package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/listener"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// plane is the feed of a control plane, by ADS. That it is away, at the start or
// later, never ends the process.
type plane struct {
	// read-only after construction
	client *client.Client
	proxy  *Proxy
	addrs  []string

	// settled is set once everything that was asked for at first has come or
	// was given up: from then on the process is ready.
	settled atomic.Bool

	mu    sync.Mutex    // guards below
	retry *time.Timer   // until what could not be taken is tried again; nil: nothing to try
	delay time.Duration // of the next such timer
}

func newPlane(p *Proxy, o client.Options) (*plane, error) {
	f := &plane{proxy: p, addrs: o.Servers}
	o.Consumer, o.Log = f, p.log
	var err error
	if f.client, err = client.New(o); err != nil {
		return nil, exit.Usage(err)
	}
	p.secrets.Source = f.client.RefetchSecret
	return f, nil
}

// run implements feed.
func (f *plane) run(ctx context.Context) error {
	f.proxy.pages.soon() // though no configuration has come
	defer f.stopRetry()
	return f.client.Run(ctx)
}

// Apply implements client.Consumer.
func (f *plane) Apply(ctx context.Context, u client.Update) error {
	snap, err := snapshot.Next(f.proxy.state.current(), u.Set)
	if err != nil {
		f.proxy.state.refuse(err, time.Now())
		return err
	}
	if err = f.proxy.take(ctx, snap, mesh.NodeFacts{}); err != nil {
		f.proxy.state.refuse(err, time.Now())
	}
	f.retryLater(ctx, err)
	if err == nil && len(u.Pending) == 0 {
		f.settled.Store(true)
	}
	return blame(err, snap)
}

// Pauses between attempts to take what could not be taken.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// retryLater sees to it that a listener whose port is taken, or a secret whose file is
// not there, gets another chance: nothing else would tell that it is so no more.
func (f *plane) retryLater(ctx context.Context, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case passing(err) && f.retry == nil:
		f.delay = min(max(2*f.delay, firstRetry), lastRetry)
		f.retry = time.AfterFunc(f.delay, func() {
			f.mu.Lock()
			f.retry = nil
			f.mu.Unlock()
			if ctx.Err() == nil {
				f.client.Retry()
			}
		})
	case err == nil && f.retry == nil:
		f.delay = 0
	}
}

// passing reports whether what is wrong with a configuration may go away without
// another one.
func passing(err error) bool {
	if bind, ok := errors.AsType[*listener.BindError](err); ok && bind.Taken() {
		return true
	}
	bad, ok := errors.AsType[*secrets.CheckError](err)
	return ok && errors.Is(bad, fs.ErrNotExist)
}

// stopRetry is for the end.
func (f *plane) stopRetry() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.retry != nil {
		f.retry.Stop()
	}
}

// reload implements feed: a control plane says by itself what is new, but what
// was refused may be possible now.
func (f *plane) reload() { f.client.Retry() }

// collectors implements feed.
func (f *plane) collectors() []prometheus.Collector {
	return []prometheus.Collector{f.client}
}

// standing implements feed.
func (f *plane) standing() standing {
	s := f.client.Status()
	st := standing{sources: f.addrs, plane: dumpPlane(&s)}
	switch {
	case s.AppliedAt.IsZero():
		st.waiting = "INITIALIZING: " + reach(&s)
	case !f.settled.Load() && len(s.Pending) > 0:
		st.waiting = "WARMING: " + waits(s.Pending)
	default:
		f.settled.Store(true)
		st.note = note(&s)
	}
	return st
}

// reach says whether a control plane is there.
func reach(s *client.Status) string {
	if s.Connected {
		return "connected to the control plane " + s.Server + ", no configuration has come yet"
	}
	text := "no control plane has answered"
	if s.LastError != "" {
		text += ": " + s.LastError
	}
	return text
}

// note says what is unusual about a configuration that runs.
func note(s *client.Status) string {
	var lines []string
	if !s.Connected {
		where := "as it was received last"
		if s.Origin.Disk {
			where = "from disk"
		}
		line := "configuration " + where + ", control plane unreachable"
		if !s.Since.IsZero() {
			line += " since " + s.Since.UTC().Format(time.RFC3339)
		}
		if s.LastError != "" {
			line += ": " + s.LastError
		}
		lines = append(lines, line)
	} else if s.Origin.Disk {
		names, awaited := unconfirmed(s)
		if awaited {
			lines = append(lines, "configuration from disk, the control plane has not answered yet")
		}
		if names != "" {
			lines = append(lines, "from disk, as the control plane says nothing of it: "+names)
		}
	}
	if w := append(append([]client.Wait{}, s.Pending...), s.Missing...); len(w) > 0 {
		lines = append(lines, waits(w))
	}
	return strings.Join(lines, "\n")
}

// most are the things that a note names; the rest is in /config_dump.
const most = 5

// unconfirmed names what runs of the set on disk, of which no control plane has said
// anything: it may have begun when an object was broken already. awaited says that the
// answer for some types has yet to come.
func unconfirmed(s *client.Status) (list string, awaited bool) {
	var names []string
	for _, t := range s.Types {
		for _, r := range t.Resources {
			switch {
			case r.Disk && !t.Answered:
				awaited = true
			case r.Disk:
				names = append(names, fmt.Sprintf("%s %q", t.TypeURL[strings.LastIndexByte(t.TypeURL, '.')+1:], r.Name))
			}
		}
	}
	if n := len(names); n > most {
		names = append(names[:most], fmt.Sprintf("and %d more", n-most))
	}
	return strings.Join(names, ", "), awaited
}

// waits says what is held up, and by what.
func waits(list []client.Wait) string {
	var parts []string
	for i, w := range list {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(list)-most))
			break
		}
		kind := w.TypeURL[strings.LastIndexByte(w.TypeURL, '.')+1:]
		part := fmt.Sprintf("%s %q is missing for %s", kind, w.Name, cmp.Or(w.For, "this node"))
		if w.Reason != "" {
			part += " (" + w.Reason + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}
