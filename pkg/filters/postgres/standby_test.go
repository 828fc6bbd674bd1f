package postgres

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

type place = filtertest.Cluster

// roles is a cluster of two servers, a and b, whose roles a test sets.
type roles struct {
	place
	a, b      *filters.Endpoint
	moved     func()
	refreshed []string
}

func (c *roles) Cluster(string) (filters.Cluster, bool) { return c, true }
func (c *roles) Refresh(reason string)                  { c.refreshed = append(c.refreshed, reason) }

func (c *roles) Notify(fn func()) func() {
	c.moved = fn
	return func() { c.moved = func() {} }
}

// set makes one of them the primary, or none.
func (c *roles) set(primary *filters.Endpoint) {
	shard := filters.Shard{Name: "db", Primary: primary}
	for _, e := range []*filters.Endpoint{c.a, c.b} {
		if e != primary {
			shard.Replicas = append(shard.Replicas, e)
		}
	}
	c.Set(&filters.Table{Shards: []filters.Shard{shard}, Options: &filters.UpstreamOptions{ConnectTimeout: 2 * time.Second}})
	if c.moved != nil {
		c.moved()
	}
}

// roleStage is a stage with a cluster of roles; a is the primary.
func roleStage(t *testing.T, change func(*resource.PostgresFilter)) (*stage, *roles) {
	t.Helper()
	conf := config()
	conf.Target = resource.TargetReadWrite
	change(conf)
	c := &roles{a: &filters.Endpoint{Network: "tcp", Address: "10.0.0.1:5432"}, b: &filters.Endpoint{Network: "tcp", Address: "10.0.0.2:5432"}}
	c.a.SetHealthy(true)
	c.b.SetHealthy(true)
	c.set(c.a)
	s := &stage{tb: t, loop: netloop.NewTestLoop(), world: filtertest.NewWorld(dbtest.MD5User)}
	s.builder = NewBuilder(slog.New(slog.DiscardHandler))
	s.loop.OnDial = func(conn *netloop.Conn, _, _ string) { s.servers = append(s.servers, conn) }
	n, err := s.builder.Build(conf, filters.Context{
		Listener: "test", Clusters: c, Secrets: s.world, DrainDeadline: 10 * time.Second, Loops: func() []*netloop.Loop { return []*netloop.Loop{s.loop} },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.filter = n.(*Filter)
	s.client = s.loop.Pipe(nil, netloop.Downstream)
	s.client.SetDriver(s.filter.Accept(s.client))
	return s, c
}

func nothing(*resource.PostgresFilter) {}

// TestRoleLost: what becomes of a session whose server is not the primary any
// more.
func TestRoleLost(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, before string
		lose         func(c *roles)
		after        string
	}{
		{"idle", "c > Q a\ns < Q a\ns > Z I\nc < Z I", func(c *roles) { c.set(c.b) }, "c < E 57P01\ns < X\nc closed"},
		{
			"in a transaction", "c > Q begin\ns < Q begin\ns > Z T\nc < Z T", func(c *roles) { c.set(c.b) },
			"c <\nc > Q commit\ns < Q commit\ns > Z I\nc < Z I\nc < E 57P01\ns < X",
		},
		{
			"in a transaction that does not end", "c > Q begin\ns < Q begin\ns > Z T\nc < Z T", func(c *roles) { c.set(c.b) },
			"c <\nwait 11s\nc < E 57P01",
		},
		{
			"at a server that does not answer", "c > Q begin\ns < Q begin", func(c *roles) { c.a.SetHealthy(false); c.set(c.b) },
			"c < E 57P01\nc closed",
		},
		{
			"while no other is the primary", "c > Q a\ns < Q a", func(c *roles) { c.a.SetHealthy(false); c.set(c.a) },
			"c <\ns > Z I\nc < Z I",
		},
		{"read only now", "c > Q a\ns < Q a\ns > Z I\nc < Z I", func(c *roles) { c.a.SetReadOnly(true); c.set(c.a) }, "c < E 57P01\ns < X"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, c := roleStage(t, nothing)
			s.open()
			if n := c.a.Sessions(); n != 1 {
				t.Errorf("%d sessions are counted", n)
			}
			s.script(tc.before)
			tc.lose(c)
			s.loop.Turn()
			s.script(tc.after)
		})
	}
}

// TestLoginElsewhere: a login at a server that loses its role goes on at the one
// that takes it on, and so does one that the server does not let in yet.
func TestLoginElsewhere(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		turn func(s *stage, c *roles)
	}{
		{"role lost", func(_ *stage, c *roles) { c.set(c.b) }},
		{"server does not answer", func(_ *stage, c *roles) { c.a.SetHealthy(false); c.set(c.b) }},
		{"server begins or ends", func(s *stage, c *roles) {
			c.a.SetHealthy(false)
			s.feed(s.servers[0], fatal(pgproto.StateCannotConnectNow, "the database system is starting up", ""))
			c.set(c.b)
			s.loop.Advance(database.LookEvery)
		}},
		{"server hangs up", func(s *stage, c *roles) {
			c.a.SetHealthy(false)
			s.servers[0].FeedEOF()
			s.loop.Turn()
			c.set(c.b)
			s.loop.Advance(database.LookEvery)
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, c := roleStage(t, nothing)
			s.feed(s.client, hello(t))
			tc.turn(s, c)
			s.loop.Turn()
			if len(s.servers) != 2 || c.a.Sessions() != 0 || c.b.Sessions() != 1 {
				t.Fatalf("%d connections, %d and %d sessions; the client gets %q", len(s.servers), c.a.Sessions(), c.b.Sessions(), s.client.TakeOutput())
			}
			if m, _, err := pgproto.ParseStartup(s.servers[1].TakeOutput(), limits()); err != nil || m.User() != dbtest.MD5User {
				t.Fatalf("the other server gets %+v, %v", m, err)
			}
			b := pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil)
			s.feed(s.servers[1], pgproto.AppendReadyForQuery(b, pgproto.TxIdle))
			s.script("c < R\nc < Z I\nc > Q a\ns < Q a")
		})
	}
}

// TestWaitForPrimary: a session waits while nobody is the primary, and is told
// who is there if that lasts for too long.
func TestWaitForPrimary(t *testing.T) {
	t.Parallel()
	s, c := roleStage(t, nothing)
	c.set(nil)
	s.feed(s.client, hello(t))
	s.loop.Advance(database.LookEvery)
	if len(s.servers) != 0 {
		t.Fatal("it is connected to a standby")
	}
	c.set(c.b)
	s.loop.Advance(database.LookEvery)
	if len(s.servers) != 1 || c.b.Sessions() != 1 {
		t.Fatalf("%d connections with a primary", len(s.servers))
	}
	s, c = roleStage(t, nothing)
	c.set(nil)
	s.feed(s.client, hello(t))
	for range 60 {
		s.loop.Advance(database.LookEvery)
	}
	_, payload, _, err := pgproto.ParseMessage(s.client.TakeOutput(), limits())
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgproto.ParseNotice(payload)
	want := "dragoman: no read-write server of the database is there: 10.0.0.1:5432 is a standby, 10.0.0.2:5432 is a standby"
	if err != nil || got.Message != want || got.State != pgproto.StateCannotConnectNow {
		t.Errorf("the client is told %+v, %v", got, err)
	}
}

// TestRefreshByErrors: what a server says may be a reason to ask all for their
// roles.
func TestRefreshByErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*resource.PostgresFilter)
		script string
		want   []string
	}{
		{"it does not write", nothing, "c > Q insert\ns < Q insert\ns > E 25006\nc < E 25006", []string{"25006"}},
		{
			"nor is it meant to", func(f *resource.PostgresFilter) { f.ReadOnly = true },
			"c > Q insert\ns < Q insert\ns > E 25006\nc < E 25006", nil,
		},
		{"it ends", nothing, "s > E 57P01\nc < E 57P01", []string{"57P01"}},
		{"another error", nothing, "c > Q x\ns < Q x\ns > E 42601\nc < E 42601", nil},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, c := roleStage(t, tc.change)
			s.open()
			s.script(tc.script)
			if diff := cmp.Diff(tc.want, c.refreshed); diff != "" {
				t.Errorf("refreshes (-want +got):\n%s", diff)
			}
		})
	}
}
