package sqlroute_test

import (
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/sqlroute"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestNext: where roles may move, a session that has met with a failure waits for
// a server that is healthy.
func TestNext(t *testing.T) {
	t.Parallel()
	table, _ := servers("p! s1")
	for target, want := range map[resource.TargetSession]string{resource.TargetReadWrite: "", resource.TargetAny: "s1"} {
		r := sqlroute.New(cluster{}, target)
		if got := nameOf(r.Next(table, nil, true)); got != want {
			t.Errorf("%s: %q after a failure, want %q", target, got, want)
		}
	}
	if got := nameOf(sqlroute.New(cluster{}, resource.TargetReadWrite).Next(table, nil, false)); got != "p" {
		t.Errorf("at first: %q, want p", got)
	}
}

func TestBetter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		servers string
		target  resource.TargetSession
		than    string
		want    bool
	}{
		{"p s1", resource.TargetReadWrite, "p", false},
		{"p! s1", resource.TargetReadWrite, "p", false}, // nobody else is the primary
		{"p s1", resource.TargetReadWrite, "s1", true},
		{"p s1! s2", resource.TargetStandby, "s1", true},
		{"p s1! s2!", resource.TargetStandby, "s1", false},
		{"p s1!", resource.TargetPreferStandby, "s1", true},
		{"p s1", resource.TargetPreferStandby, "p", false},
	}
	for _, tc := range tests {
		table, byName := servers(tc.servers)
		if got := sqlroute.New(cluster{}, tc.target).Better(table, byName[tc.than]); got != tc.want {
			t.Errorf("%s of %q: better than %s = %v", tc.target, tc.servers, tc.than, got)
		}
	}
}

// TestBeside: who may take a session for which a server has no room.
func TestBeside(t *testing.T) {
	t.Parallel()
	tests := []struct {
		servers string
		target  resource.TargetSession
		full    string
		want    bool
	}{
		{"p s1 s2", resource.TargetStandby, "s1", true},
		{"p s1 s2", resource.TargetPreferStandby, "s1", true},
		{"p s1 s2!", resource.TargetPreferStandby, "s1", false}, // not the primary
		{"p s1", resource.TargetPreferStandby, "p", false},
		{"p s1", resource.TargetReadWrite, "p", false},
		{"p s1", resource.TargetAny, "p", true},
	}
	for _, tc := range tests {
		table, byName := servers(tc.servers)
		full := byName[tc.full]
		if got := sqlroute.New(cluster{}, tc.target).Beside(table, full, []*filters.Endpoint{full}); got != tc.want {
			t.Errorf("%s of %q: another for %s = %v", tc.target, tc.servers, tc.full, got)
		}
	}
}

// TestBesideTakesNoTurn: of three standbys by turns, the full one is met with by every third session.
func TestBesideTakesNoTurn(t *testing.T) {
	t.Parallel()
	table, byName := servers("s1 s2 s3")
	r, full, met := sqlroute.New(cluster{}, resource.TargetStandby), byName["s1"], 0
	const sessions = 30
	for range sessions {
		if at := r.Next(table, nil, false); at == full {
			met++
			if tried := []*filters.Endpoint{full}; r.Beside(table, full, tried) {
				r.Next(table, tried, true)
			}
		}
	}
	if met > sessions/2 {
		t.Errorf("%d of %d sessions met with the full server", met, sessions)
	}
}

// watched is a cluster that tells of changes and is told to look.
type watched struct {
	cluster
	tell      *func()
	refreshes *[]string
}

func (w watched) Notify(fn func()) func() {
	*w.tell = fn
	return func() { *w.tell = nil }
}

func (w watched) Refresh(reason string) { *w.refreshes = append(*w.refreshes, reason) }

// TestWatch: only targets that are about roles care for them.
func TestWatch(t *testing.T) {
	t.Parallel()
	for target, cares := range map[resource.TargetSession]bool{resource.TargetAny: false, resource.TargetStandby: true} {
		w := watched{tell: new(func()), refreshes: &[]string{}}
		r := sqlroute.New(w, target)
		stop := r.Watch(func() {})
		if (*w.tell != nil) != cares {
			t.Errorf("%s: watches %v", target, *w.tell != nil)
		}
		stop()
		if *w.tell != nil {
			t.Errorf("%s: watches after its end", target)
		}
		r.Refresh("57P01")
		r.Refused("25006", false)
		if want := map[bool]int{false: 0, true: 1}[cares]; len(*w.refreshes) != want {
			t.Errorf("%s: refreshes %q", target, *w.refreshes)
		}
	}
	w := watched{tell: new(func()), refreshes: &[]string{}}
	r := sqlroute.New(w, resource.TargetPrimary)
	r.Refused("25006", true)
	r.Refused("25006", false)
	if len(*w.refreshes) != 1 {
		t.Errorf("refreshes %q, want one: a session that is read only is refused by itself", *w.refreshes)
	}
}

var _ filters.Notifier = watched{}
