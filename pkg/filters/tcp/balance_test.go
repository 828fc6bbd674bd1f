package tcp_test

import (
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func TestUnhealthyAvoided(t *testing.T) {
	t.Parallel()
	sick := endpoint(nettest.Serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "sick") }))
	sick.SetHealthy(false)
	c := &cluster{}
	c.set(1, sick, endpoint(nettest.Serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "well") })))
	p := start(t, c, resource.TCPFilter{})
	for range 5 {
		if got, _ := io.ReadAll(p.dial(t)); string(got) != "well" {
			t.Errorf("got %q", got)
		}
	}
	c.set(2, sick) // better than nothing
	if got, _ := io.ReadAll(p.dial(t)); string(got) != "sick" {
		t.Errorf("got %q", got)
	}
}

// inTurn picks shards in turn.
type inTurn struct {
	n    int
	next atomic.Int64
}

func (p *inTurn) Pick([]byte) int { return int(p.next.Add(1)-1) % p.n }

// spread counts how 60 connections are spread over three endpoints.
func spread(t *testing.T, policy resource.LBPolicy, picker filters.Picker) (hits [3]int32) {
	t.Helper()
	c := &cluster{lb: resource.LoadBalancing{Policy: policy, ChoiceCount: 3}}
	var counts [3]atomic.Int32
	eps := make([]*filters.Endpoint, 3)
	for i := range eps {
		eps[i] = endpoint(nettest.Serve(t, func(c net.Conn) { counts[i].Add(1); echo(c) }))
	}
	c.set(1, eps...)
	c.table.Load().Picker = picker
	p := start(t, c, resource.TCPFilter{})
	for range 60 {
		roundTrip(t, p.dial(t), "x") // stays open until the test ends
	}
	for i := range hits {
		hits[i] = counts[i].Load()
	}
	return hits
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	if hits := spread(t, resource.LBRoundRobin, &inTurn{n: 3}); hits != [3]int32{20, 20, 20} {
		t.Errorf("round robin: %v", hits)
	}
	if hits := spread(t, resource.LBLeastRequest, &inTurn{n: 1}); slices.Min(hits[:]) < 15 {
		t.Errorf("least request: %v", hits)
	}
	if hits := spread(t, resource.LBRandom, nil); slices.Min(hits[:]) == 0 {
		t.Errorf("random: %v", hits)
	}
}
