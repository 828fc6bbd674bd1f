package kube

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// TestTermsEndOnlyWhereRenewalsAreSeen: while the API server cannot be asked a
// term goes on, a timer that comes late ends no renewed one, and what comes after
// the end is not told.
func TestTermsEndOnlyWhereRenewalsAreSeen(t *testing.T) {
	t.Parallel()
	var told []tenure
	away := errors.New("away")
	o := &overseer{
		problem: func() error { return away },
		put:     func(l *tenure, _ time.Time) { told = append(told, *l) },
	}
	over := func() { // as if its time were over
		o.mu.Lock()
		o.until = time.Now().Add(-time.Second)
		o.mu.Unlock()
		o.expire()
	}
	leads, expired := tenure{holder: "web-0"}, tenure{holder: "web-0", expired: true}
	first := term{holder: "web-0", renewed: time.Now(), duration: time.Hour}
	o.set(inventory.Key{}, &first, time.Now())
	o.set(inventory.Key{}, &first, time.Now()) // the watch began anew
	over()
	if diff := cmp.Diff([]tenure{leads}, told, cmp.AllowUnexported(tenure{})); diff != "" {
		t.Errorf("away (-want +got):\n%s", diff)
	}
	if !o.until.After(time.Now()) {
		t.Error("it is not looked at again")
	}
	away = nil
	o.expire() // late
	over()
	second := first
	second.number++
	o.set(inventory.Key{}, &second, time.Now())
	o.stop()
	over()
	o.set(inventory.Key{}, &first, time.Now())
	if diff := cmp.Diff([]tenure{leads, expired, leads}, told, cmp.AllowUnexported(tenure{})); diff != "" {
		t.Errorf("in turn (-want +got):\n%s", diff)
	}
}
