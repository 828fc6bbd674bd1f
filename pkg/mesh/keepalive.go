package mesh

import "time"

// TCPKeepalive is how a peer is found out about that is gone without a word, as after
// a loss of power: probes where nothing is under way, and the same patience, idle and
// all intervals together, with one that acknowledges nothing of what it was sent.
type TCPKeepalive struct {
	// Idle is how long nothing comes until the first probe, in whole seconds.
	Idle *Duration `json:"idle,omitempty"`
	// Interval is between two probes, in whole seconds; default: a third of idle.
	Interval *Duration `json:"interval,omitempty"`
	// Probes without an answer end the connection; default 3.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=127
	Probes *uint32 `json:"probes,omitempty"`
}

// What Linux takes (tcp(7)).
const (
	mostKeepalive       = 32767 * time.Second
	mostKeepaliveProbes = 127
)

func (c *checker) keepalive(k *TCPKeepalive, at string) {
	if k == nil {
		return
	}
	for _, d := range []struct {
		value *Duration
		name  string
	}{{k.Idle, ".idle"}, {k.Interval, ".interval"}} {
		if d.value == nil {
			continue
		}
		v := time.Duration(*d.value)
		c.require(v >= time.Second && v <= mostKeepalive && v%time.Second == 0, at+d.name,
			"must be whole seconds, from 1s to 32767s", "")
	}
	c.require(k.Probes == nil || *k.Probes >= 1 && *k.Probes <= mostKeepaliveProbes, at+".probes", "must be from 1 to 127", "")
}
