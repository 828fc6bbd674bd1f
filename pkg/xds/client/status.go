package client

import (
	"cmp"
	"slices"
	"time"
)

// Status is what a Client knows of itself. It holds no secret.
type Status struct {
	Server      string    // that the stream goes to; "": none
	Mode        Mode      // spoken on that stream
	Connected   bool      // a stream is open
	Since       time.Time // when it was opened; without one: since when there is none
	LastContact time.Time // when a control plane last sent something; zero: never
	LastError   string    // why the last stream ended or could not be opened
	LastErrorAt time.Time

	// Origin is that of the running set. Disk turns false when a control plane has
	// spoken of all that is from the file.
	Origin    Origin
	AppliedAt time.Time // zero: nothing runs
	Types     []TypeStatus
	Pending   []Wait // what is awaited now
	Missing   []Wait // what was given up
	Nacks     []Nack // the latest, oldest first
	CacheErr  string // what was wrong with the file, reading or writing; "": nothing
}

// TypeStatus is what is known of one type of resource.
type TypeStatus struct {
	TypeURL   string
	Answered  bool   // the control plane has sent this type on the stream
	Version   string // of the last response; SotW or system_version_info
	Nonce     string // of the last response
	Resources []ResourceStatus
}

// ResourceState is where a resource stands.
type ResourceState string

// The states of a resource.
const (
	StateRunning ResourceState = "running" // part of the running set
	StateWarming ResourceState = "warming" // valid, and waits for others or for its turn
	StateRefused ResourceState = "refused" // the newest version was refused; Running says whether an older one runs
	StateWaiting ResourceState = "waiting" // asked for, has not come
	StateMissing ResourceState = "missing" // asked for, was given up
)

// ResourceStatus is what is known of one resource.
type ResourceStatus struct {
	Name    string
	State   ResourceState
	Version string // of the newest that is valid
	Running bool   // some version of it runs
	Disk    bool   // that is from the file, and no control plane has confirmed it
	Error   string // why the newest was refused
}

// Nack is one refused response.
type Nack struct {
	At      time.Time
	TypeURL string
	Version string
	Nonce   string
	Reason  string
}

// Status shows where everything stands.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.machine
	s := Status{
		Mode: m.stream.mode, LastContact: m.events.lastContact,
		LastError: c.failure, LastErrorAt: c.failedAt, CacheErr: c.diskErr,
		Origin: Origin{Disk: m.applied.disk, Server: m.applied.server}, AppliedAt: m.applied.at,
		Nacks: slices.Clone(m.events.lastNacks), Since: c.away,
	}
	if c.link != nil {
		s.Connected, s.Server, s.Since = true, c.link.server, m.stream.since
	}
	s.Pending, s.Missing = m.lacking(m.evaluate())
	for k := range numKinds {
		s.Types = append(s.Types, m.typeStatus(k))
	}
	return s
}

func (m *machine) typeStatus(k kind) TypeStatus {
	t := &m.types[k]
	s := TypeStatus{TypeURL: k.typeURL(), Answered: t.answered, Version: t.seen, Nonce: t.nonce}
	for name, e := range t.entries {
		if !e.empty() {
			s.Resources = append(s.Resources, e.status(name))
		}
	}
	for w := range m.waits {
		if w.kind == k && (t.entries[w.name] == nil || t.entries[w.name].empty()) {
			state := StateWaiting
			if m.waits[w].gaveUp {
				state = StateMissing
			}
			s.Resources = append(s.Resources, ResourceStatus{Name: w.name, State: state})
		}
	}
	slices.SortFunc(s.Resources, func(a, b ResourceStatus) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

func (e *entry) status(name string) ResourceStatus {
	s := ResourceStatus{Name: name, Running: e.running != nil, Disk: e.running != nil && e.running.disk}
	if e.offered != nil {
		s.Version = e.offered.number
	}
	switch {
	case e.refused != nil:
		s.State, s.Error = StateRefused, e.refused.Error()
	case e.running != nil && e.running.synthetic:
		s.State = StateMissing
	case e.offered == e.running:
		s.State = StateRunning
	default:
		s.State = StateWarming
	}
	return s
}
