package database

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// LookEvery is how often is looked whether what is waited for is there: other
// credentials, credentials at all, an endpoint.
const LookEvery = 100 * time.Millisecond

// Awaiting is a login that waits for other credentials than those that a server
// has refused. Its loop alone uses it.
type Awaiting struct {
	r     *Rotation
	loop  *netloop.Loop
	than  Credentials
	until int64 // loop time, ns
	then  func(*Credentials)
	timer *netloop.Timer
	over  bool
}

// Await calls then with the other credentials as soon as there are some, which may
// be at once, and with nil when they have been waited for long enough: for most, or
// until the rotation's limit. It is for the loop's goroutine.
func (r *Rotation) Await(loop *netloop.Loop, than Credentials, most time.Duration, then func(*Credentials)) *Awaiting {
	a := &Awaiting{r: r, loop: loop, than: than, until: loop.Now(), then: then}
	if r.other(than) == nil { // a session that began with older ones asks nobody for what is there
		a.until += int64(min(r.Refused(than, time.Now()), most))
	}
	a.look()
	return a
}

func (a *Awaiting) look() {
	other, left := a.r.other(a.than), time.Duration(a.until-a.loop.Now())
	if other == nil && !a.r.refuses(a.than) {
		other = &a.than
	}
	if other == nil && left > 0 {
		a.timer = a.loop.After(min(LookEvery, left), a.look)
		return
	}
	a.over = true
	a.then(other)
}

// Stop has then not called any more. A nil one waits for nothing.
func (a *Awaiting) Stop() {
	if a == nil || a.over {
		return
	}
	a.over = true
	a.timer.Stop()
}

// other returns the credentials as they are now, if they are others.
func (r *Rotation) other(than Credentials) *Credentials {
	c, err := ReadCredentials(r.source, r.login)
	if err != nil || c == than {
		return nil
	}
	return &c
}
