package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// TestSlowClientsHoldNobodyUp has more clients than there are workers who are up
// to date, and then read nothing of what changes. Another one hears of every
// change all the same.
func TestSlowClientsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{StreamsPerIdentity: 100})
	kinds := []string{"cds", "eds", "lds", "rds", "sds", "ecds"}
	var granted, first []string
	for _, kind := range kinds {
		granted = append(granted, kind+"/x")
		first = append(first, kind+"/x=0")
	}
	w.people.give(w.grant(append(granted, "sync/s")...))
	w.publish(append(first, "sync/s=0")...)
	for range 20 {
		slow := newDeltaClient(w)
		for _, kind := range kinds {
			if err := slow.say(kind, []string{"+x", "have:x=0"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	subscribed := func() bool {
		all := 0
		for _, st := range w.server.Status() {
			all += len(st.Types)
		}
		return all == 20*len(kinds)
	}
	eventually(t, "all are subscribed", subscribed)
	quick := newDeltaClient(w)
	if err := quick.say("sync", []string{"+s"}); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if got, err := quick.hear(); err != nil || got != fmt.Sprintf("sync s=%d", i) {
			t.Fatalf("got %q, %v, want sync s=%d", got, err, i)
		}
		if err := quick.say("sync", []string{"ack"}); err != nil {
			t.Fatal(err)
		}
		var changes []string
		for _, kind := range kinds {
			changes = append(changes, fmt.Sprintf("%s/x=%d%s", kind, i+1, strings.Repeat("x", 100<<10)))
		}
		w.publish(changes...)
		w.publish(fmt.Sprintf("sync/s=%d", i+1))
	}
}

// TestLargeWorldsAreSplitUp checks that no response is larger than what gRPC
// clients take, and that all of it comes.
func TestLargeWorldsAreSplitUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{})
	var changes []string
	var granted []string
	for i := range 100 {
		granted = append(granted, fmt.Sprint("cds/c", i))
		changes = append(changes, fmt.Sprintf("cds/c%d=%s", i, strings.Repeat("x", 100<<10)))
	}
	w.people.give(w.grant(granted...))
	w.publish(changes...)
	c := newDeltaClient(w)
	_ = c.say("cds", nil)
	got, responses := 0, 0
	for got < 100 {
		r, err := c.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got += len(r.GetResources())
		responses++
		_ = c.say("cds", []string{"#" + r.GetNonce()})
	}
	if got != 100 || responses < 10 {
		t.Errorf("%d resources came in %d responses, want 100 in 10 or more", got, responses)
	}
}
