package upstream

import (
	"math/rand/v2"
	"time"
)

// timing is every interval that no configuration names.
type timing struct {
	reprobeMin  time.Duration // first pause before an unhealthy endpoint is probed again, doubled up to
	reprobeMax  time.Duration // so that it heals within about this time
	probeLimit  time.Duration // of one probe, where no check names a timeout
	role        time.Duration // between ROLE probes of a healthy endpoint
	refresh     time.Duration // at least, between two topology queries
	suspect     time.Duration // between topology queries while an endpoint is unhealthy
	dnsLimit    time.Duration // of one resolution
	hedge       time.Duration // a silent server is passed over after so long
	random      func() float64
	minimalHold time.Duration // first ejection by the implicit policy
	linger      time.Duration // an endpoint that left the topology is remembered so long
}

func defaultTiming() timing {
	return timing{
		reprobeMin:  50 * time.Millisecond,
		reprobeMax:  time.Second,
		probeLimit:  2 * time.Second,
		role:        2 * time.Second,
		refresh:     100 * time.Millisecond,
		suspect:     time.Second,
		dnsLimit:    5 * time.Second,
		hedge:       250 * time.Millisecond,
		random:      rand.Float64,
		minimalHold: 250 * time.Millisecond,
		linger:      30 * time.Second,
	}
}

// jitter returns between 3/4 of d and d: never later than promised.
func (t *timing) jitter(d time.Duration) time.Duration {
	return d - time.Duration(t.random()*float64(d)/4)
}

// backoff returns the pause after so many failures, jittered.
func (t *timing) backoff(failures int, first, most time.Duration) time.Duration {
	d := first
	for range min(failures, 30) {
		if d *= 2; d >= most {
			d = most
			break
		}
	}
	return t.jitter(d)
}
