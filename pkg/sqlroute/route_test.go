package sqlroute_test

import (
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/sqlroute"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// cluster is a filters.Cluster with a policy.
type cluster struct{ policy resource.LBPolicy }

func (cluster) Name() string                              { return "test" }
func (cluster) Table() *filters.Table                     { return nil }
func (cluster) Report(*filters.Endpoint, filters.Outcome) {}
func (cluster) Refresh(string)                            {}
func (c cluster) LoadBalancing() resource.LoadBalancing {
	return resource.LoadBalancing{Policy: c.policy}
}

// servers makes endpoints of words: "p" the primary, "s1" a standby, with "!"
// behind it one that is not healthy, with "r" a primary that is read only, with "x"
// one that says it is the primary, and is not taken for it.
func servers(text string) (*filters.Table, map[string]*filters.Endpoint) {
	byName := map[string]*filters.Endpoint{}
	var shard filters.Shard
	for word := range strings.FieldsSeq(text) {
		name := strings.TrimRight(word, "!rx")
		e := &filters.Endpoint{Network: "tcp", Address: name}
		e.SetHealthy(!strings.Contains(word, "!"))
		e.SetReadOnly(strings.Contains(word, "r"))
		e.SetRival(strings.HasSuffix(word, "x"))
		byName[name] = e
		if strings.HasPrefix(name, "p") {
			shard.Primary = e
		} else {
			shard.Replicas = append(shard.Replicas, e)
		}
	}
	return &filters.Table{Shards: []filters.Shard{shard}}, byName
}

func TestPick(t *testing.T) {
	t.Parallel()
	tests := []struct {
		servers string
		target  resource.TargetSession
		tried   string
		want    string // first choice
		healthy string // of PickHealthy
	}{
		{"p s1", resource.TargetReadWrite, "", "p", "p"},
		{"p! s1", resource.TargetReadWrite, "", "p", ""},
		{"pr s1", resource.TargetReadWrite, "", "", ""},
		{"s1 s2", resource.TargetReadWrite, "", "", ""},
		{"p s1", resource.TargetReadWrite, "p", "", ""},
		{"pr s1", resource.TargetPrimary, "", "p", "p"},
		{"p s1", resource.TargetReadOnly, "", "s1", "s1"},
		{"p s1x s2", resource.TargetReadOnly, "", "s2", "s2"},
		{"p s1x", resource.TargetPreferStandby, "", "p", "p"},
		{"p! s1x", resource.TargetPreferStandby, "", "p", ""},
		{"p s1x", resource.TargetStandby, "", "", ""},
		{"p! s1x", resource.TargetAny, "", "p", ""},
		{"pr s1!", resource.TargetReadOnly, "", "p", "p"},
		{"p s1!", resource.TargetReadOnly, "", "s1", ""},
		{"p s1", resource.TargetStandby, "", "s1", "s1"},
		{"p", resource.TargetStandby, "", "", ""},
		{"p s1 s2!", resource.TargetPreferStandby, "", "s1", "s1"},
		{"p s1!", resource.TargetPreferStandby, "", "p", "p"},
		{"p s1", resource.TargetPreferStandby, "s1", "p", "p"},
		{"p! s1!", resource.TargetPreferStandby, "", "s1", ""},
		{"p! s1!", resource.TargetPreferStandby, "s1", "p", ""},
		{"p! s1", resource.TargetAny, "", "s1", "s1"},
		{"", resource.TargetAny, "", "", ""},
	}
	for _, tc := range tests {
		table, byName := servers(tc.servers)
		var tried []*filters.Endpoint
		for name := range strings.FieldsSeq(tc.tried) {
			tried = append(tried, byName[name])
		}
		r := sqlroute.New(cluster{resource.LBLeastRequest}, tc.target)
		if got := nameOf(r.Pick(table, tried)); got != tc.want {
			t.Errorf("%s of %q, tried %q: Pick = %q, want %q", tc.target, tc.servers, tc.tried, got, tc.want)
		}
		if got := nameOf(r.PickHealthy(table, tried)); got != tc.healthy {
			t.Errorf("%s of %q, tried %q: PickHealthy = %q, want %q", tc.target, tc.servers, tc.tried, got, tc.healthy)
		}
	}
}

func nameOf(e *filters.Endpoint) string {
	if e == nil {
		return ""
	}
	return e.Address
}

func TestSessionsAreSpread(t *testing.T) {
	t.Parallel()
	for _, policy := range []resource.LBPolicy{resource.LBLeastRequest, resource.LBRoundRobin} {
		table, byName := servers("p s1 s2 s3")
		r := sqlroute.New(cluster{policy}, resource.TargetStandby)
		for range 30 {
			r.Pick(table, nil).SessionBegan()
		}
		for name, e := range byName {
			if want := map[bool]int64{true: 10, false: 0}[name != "p"]; e.Sessions() != want {
				t.Errorf("%s: %s has %d sessions, want %d", policy, name, e.Sessions(), want)
			}
		}
		for range 8 {
			byName["s2"].SessionEnded()
		}
		if policy != resource.LBLeastRequest {
			continue
		}
		for range 8 {
			if e := r.Pick(table, nil); e != byName["s2"] {
				t.Fatalf("%s is chosen, although s2 has the fewest sessions", e.Address)
			}
			byName["s2"].SessionBegan()
		}
	}
}

// TestFewSessionsOfARefuser: a server has few sessions since it turns them away, and is not chosen for that while another will do.
func TestFewSessionsOfARefuser(t *testing.T) {
	t.Parallel()
	table, byName := servers("s1 s2")
	r := sqlroute.New(cluster{resource.LBLeastRequest}, resource.TargetStandby)
	for range 8 {
		byName["s2"].SessionBegan()
	}
	byName["s1"].NoteRefusal()
	if got := r.Pick(table, nil); got != byName["s2"] {
		t.Errorf("%s is chosen, which has refused", got.Address)
	}
	if got := r.Pick(table, []*filters.Endpoint{byName["s2"]}); got != byName["s1"] {
		t.Errorf("where there is no other: %v", got)
	}
	byName["s2"].NoteRefusal()
	if got := r.Pick(table, nil); got != byName["s1"] {
		t.Errorf("%s is chosen, where both have refused", got.Address)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	tests := []struct {
		servers string
		target  resource.TargetSession
		at      string
		want    sqlroute.Verdict
	}{
		{"p s1", resource.TargetReadWrite, "p", sqlroute.Stays},
		{"p! s1", resource.TargetReadWrite, "p", sqlroute.Stays},
		{"p s1", resource.TargetReadWrite, "s1", sqlroute.Demoted},
		{"pr s1", resource.TargetReadWrite, "p", sqlroute.Demoted},
		{"p s1", resource.TargetReadWrite, "s2", sqlroute.Gone},
		{"p s1", resource.TargetStandby, "p", sqlroute.Demoted},
		{"p s1", resource.TargetPreferStandby, "p", sqlroute.Stays},
		{"p s1", resource.TargetAny, "s1", sqlroute.Stays},
	}
	for _, tc := range tests {
		table, _ := servers(tc.servers)
		at := &filters.Endpoint{Network: "tcp", Address: tc.at} // of an earlier table
		if got := sqlroute.New(cluster{}, tc.target).Judge(table, at); got != tc.want {
			t.Errorf("%s at %s of %q: %v, want %v", tc.target, tc.at, tc.servers, got, tc.want)
		}
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	table, _ := servers("pr s1!")
	got := sqlroute.New(cluster{}, resource.TargetReadWrite).Missing(table)
	want := "no read-write server of the database is there: p is a primary that is read only, s1 is a standby and not healthy"
	if got != want {
		t.Errorf("Missing = %q, want %q", got, want)
	}
}
