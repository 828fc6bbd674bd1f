package database

import (
	"slices"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// TestDialsAreLimited: so many connect at once to one endpoint, others in the order of coming, and another endpoint has turns of its own.
func TestDialsAreLimited(t *testing.T) {
	t.Parallel()
	loop, d := netloop.NewTestLoop(), NewDials("postgres")
	a, b := &filters.Endpoint{Network: "tcp", Address: "127.0.0.1:1"}, &filters.Endpoint{Network: "tcp", Address: "127.0.0.1:2"}
	var began []int
	var turns []*Turn
	for i := range 5 {
		turns = append(turns, d.Turn(loop, a, 2, func() { began = append(began, i) }))
		turns[i].Enter()
	}
	other := d.Turn(loop, b, 2, func() { began = append(began, 100) })
	other.Enter()
	check := func(what string, want ...int) {
		t.Helper()
		loop.Turn()
		if len(began) != len(want) {
			t.Fatalf("%s: %v began, want %v", what, began, want)
		}
		for i := range want {
			if began[i] != want[i] {
				t.Fatalf("%s: %v began, want %v", what, began, want)
			}
		}
	}
	check("at first", 0, 1, 100)
	if turns[1].Waiting() || !turns[2].Waiting() {
		t.Error("who waits is not known")
	}
	turns[2].Leave() // whose client has gone
	turns[0].Leave()
	turns[0].Leave() // once counts
	check("after one is done", 0, 1, 100, 3)
	turns[1].Leave()
	turns[4].Leave() // between the gate's word and the loop's
	check("after it has left", 0, 1, 100, 3)
	turns[3].Leave()
	other.Leave()
	if len(d.doors) != 0 {
		t.Errorf("%d endpoints are kept", len(d.doors))
	}
	var none *Turn
	none.Leave()
	if none.Waiting() {
		t.Error("nobody waits")
	}
}

// TestStormIsSpread: after an endpoint has lost several sessions those that come back do not connect at once, one that was lost alone does.
func TestStormIsSpread(t *testing.T) {
	t.Parallel()
	loop, d := netloop.NewTestLoop(), NewDials("postgres")
	e := &filters.Endpoint{Network: "tcp", Address: "127.0.0.1:1"}
	began := 0
	enter := func() *Turn {
		t := d.Turn(loop, e, 2, func() { began++ })
		t.Enter()
		return t
	}
	d.Lost(e)
	enter().Leave()
	if began != 1 {
		t.Error("one that was lost alone is kept waiting")
	}
	for range stormFrom {
		d.Lost(e)
	}
	first, gone := enter(), enter()
	gone.Leave()
	if began != 1 || !first.Waiting() {
		t.Error("they connect at once")
	}
	loop.Advance(stormSpread + time.Millisecond)
	loop.Turn()
	if began != 2 {
		t.Errorf("%d have begun, want 2", began)
	}
	first.Leave()
}

// TestTurnAnew: who had to leave its turn in mid-login goes before those who have not begun, in the order of coming, and a storm does not keep it.
func TestTurnAnew(t *testing.T) {
	t.Parallel()
	loop, d := netloop.NewTestLoop(), NewDials("mysql")
	e := &filters.Endpoint{Network: "tcp", Address: "127.0.0.1:1"}
	var began []string
	turn := func(name string) *Turn { return d.Turn(loop, e, 1, func() { began = append(began, name) }) }
	first, behind, again, late := turn("first"), turn("behind"), turn("again"), turn("later again")
	first.Enter()
	behind.Enter()
	for range stormFrom {
		d.Lost(e)
	}
	again.EnterFirst()
	late.EnterFirst()
	if !first.Held() || again.Held() || !again.Waiting() {
		t.Error("who has the turn is not known")
	}
	for _, leaving := range []*Turn{first, again, late, behind} {
		leaving.Leave()
		loop.Turn()
	}
	if want := []string{"first", "again", "later again", "behind"}; !slices.Equal(began, want) {
		t.Errorf("%q began, want %q", began, want)
	}
	if first.Held() || d.Open() != 0 {
		t.Errorf("%d turns are left over", d.Open())
	}
}
