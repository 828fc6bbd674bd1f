package client

import "time"

// Status is what a Client knows of itself. It holds no secret.
type Status struct {
	Server      string // that the stream goes to; "": none
	Mode        Mode   // spoken on that stream
	Connected   bool   // a stream is open
	Since       time.Time
	LastContact time.Time // when a control plane last sent something; zero: never
	LastError   string    // why the last stream ended or could not be opened
	LastErrorAt time.Time

	// Origin is that of the running set. Disk turns false when a control plane
	// has sent listeners and clusters.
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
