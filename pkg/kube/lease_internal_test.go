package kube

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// TestTermsEndOnlyWhereTheAPIServerSaysSo: while it cannot be asked a term goes on,
// and for the time of another one when it can be again; a timer that comes late
// ends no renewed one, and what comes after the end is not told.
func TestTermsEndOnlyWhereTheAPIServerSaysSo(t *testing.T) {
	t.Parallel()
	var told []tenure
	first := term{holder: "web-0", renewed: time.Now(), duration: time.Hour}
	lease, away := &first, errors.New("away")
	o := &overseer{
		look: func() (*term, error) { return lease, away },
		put:  func(l *tenure, _ time.Time) { told = append(told, *l) },
	}
	over := func() { // as if its time were over
		o.mu.Lock()
		o.until = time.Now().Add(-time.Second)
		o.mu.Unlock()
		o.expire()
	}
	says := func(when string, want ...tenure) {
		t.Helper()
		if diff := cmp.Diff(want, told, cmp.AllowUnexported(tenure{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		told = nil
	}
	leads, expired := tenure{holder: "web-0"}, tenure{holder: "web-0", expired: true}
	o.set(inventory.Key{}, &first, time.Now())
	o.set(inventory.Key{}, &first, time.Now()) // the watch began anew
	says("at first", leads)
	for range 3 {
		over()
		if !o.until.After(time.Now()) {
			t.Error("it is not looked at again")
		}
	}
	away = nil
	over()
	says("while it is away, and when it is just back")
	o.expire() // late
	says("when it is not over")
	over()
	says("not renewed", expired)

	second := first
	second.number++
	o.set(inventory.Key{}, &second, time.Now())
	says("renewed", leads)
	third := term{holder: "web-1", duration: time.Hour}
	lease = &third // which the watch has not brought
	over()
	says("taken over unseen", tenure{holder: "web-1"})
	lease = nil
	over()
	says("deleted unseen", tenure{holder: "web-1", expired: true})
	o.stop()
	over()
	o.set(inventory.Key{}, &first, time.Now())
	says("after the end")
}

// TestRenewalsDuringALookCount: what the watch brings while the API server is asked
// is newer than the answer may be.
func TestRenewalsDuringALookCount(t *testing.T) {
	t.Parallel()
	var told []tenure
	first := term{holder: "web-0", renewed: time.Now(), duration: time.Hour}
	second := first
	second.renewed = second.renewed.Add(time.Second)
	o := &overseer{put: func(l *tenure, _ time.Time) { told = append(told, *l) }}
	o.look = func() (*term, error) {
		o.set(inventory.Key{}, &second, time.Now())
		return &first, nil
	}
	o.set(inventory.Key{}, &first, time.Now())
	o.mu.Lock()
	o.until = time.Now().Add(-time.Second)
	o.mu.Unlock()
	o.expire()
	if diff := cmp.Diff([]tenure{{holder: "web-0"}, {holder: "web-0"}}, told, cmp.AllowUnexported(tenure{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	o.stop()
}
