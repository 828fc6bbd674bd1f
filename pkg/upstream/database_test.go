package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// database is a cluster of servers that are asked for their roles. The first is
// configured as primary.
func database(kind resource.HealthCheckKind, user string, ports ...int) *resource.Cluster {
	c := &resource.Cluster{
		Name: "db", ConnectTimeout: 2 * time.Second, Redis: resource.RedisUpstream{ConnectionsPerEndpoint: 1},
		LB: resource.LoadBalancing{Policy: resource.LBLeastRequest},
		HealthCheck: &resource.HealthCheck{
			Kind: kind, Interval: 100 * time.Millisecond, Timeout: 500 * time.Millisecond, Jitter: 0.1, UnhealthyThreshold: 2, HealthyThreshold: 1,
			Database: resource.DatabaseCheck{
				Login:     resource.DatabaseLogin{Username: resource.SecretKey{Name: "user"}, Password: resource.SecretKey{Name: "password"}, Database: dbtest.Database},
				ProbeRole: true,
			},
		},
		Secrets: []*resource.Secret{secret("user", user), secret("password", dbtest.Password)},
	}
	for i, port := range ports {
		e := host("127.0.0.1", port)
		e.Shard, e.Role = "db", resource.RoleReplica
		if i == 0 {
			e.Role = resource.RolePrimary
		}
		c.Endpoints = append(c.Endpoints, e)
	}
	return c
}

func secret(name, value string) *resource.Secret {
	return &resource.Secret{Name: name, Generic: map[string]resource.DataSource{"": {Inline: []byte(value)}}}
}

// noticed waits for a cluster to be of a shape, and for Notify to have said so.
func noticed(t *testing.T, c *cluster, want string, told <-chan struct{}) {
	t.Helper()
	deadline := time.After(patience)
	for shape(c.Table()) != want {
		select {
		case <-told:
		case <-deadline:
			t.Fatalf("nobody says that the table changes: %s, want %s", shape(c.Table()), want)
		}
	}
}

// listening is written to at each change.
func listening(t *testing.T, c *cluster) <-chan struct{} {
	t.Helper()
	told := make(chan struct{}, 1)
	t.Cleanup(c.Notify(func() { signal(told) }))
	return told
}

// TestPostgresFailover: the servers say who is the primary, whatever the
// configuration says; a promoted standby takes over, and the old primary does not
// come back as one.
func TestPostgresFailover(t *testing.T) {
	t.Parallel()
	a := dbtest.StartPostgres(t)
	b := a.Standby()
	s := testSet(t, nil)
	apply(t, s, database(resource.HealthCheckPostgres, dbtest.SCRAMUser, b.Port(), a.Port())) // the standby comes first
	c := running(t, s, "db")
	if err := shaped(c, "db="+a.Addr()+"+"+b.Addr())(); err != nil {
		t.Errorf("as soon as it is warm: %v", err)
	}
	told := listening(t, c)
	a.Kill()
	eventually(t, "the death of the primary to be noticed", health(c.Table().Shards[0].Primary, false))
	if err := shaped(c, "db="+a.Addr()+"+"+b.Addr())(); err != nil {
		t.Errorf("before another is promoted: %v", err)
	}
	b.Promote()
	noticed(t, c, "db="+b.Addr()+"+"+a.Addr(), told)
	a.Restart() // says that it is a primary, of an older timeline
	eventually(t, "the old primary to be well", health(c.Table().Shards[0].Replicas[0], true))
	b.Freeze()
	eventually(t, "the new primary to be frozen", health(c.Table().Shards[0].Primary, false))
	if err := shaped(c, "db="+b.Addr()+"+"+a.Addr())(); err != nil {
		t.Errorf("while the new primary is away: %v", err)
	}
	b.Thaw()
	eventually(t, "the new primary to be well", health(c.Table().Shards[0].Primary, true))
	v := s.Snapshot()[0].Endpoints[0]
	if v.Timeline != 2 || v.Role != "primary" || v.LastRole != "primary" || v.ReadOnly {
		t.Errorf("view of the primary: %+v", v)
	}
}

// TestPostgresFrozenPrimary: its sockets go on to accept, and it does not answer.
func TestPostgresFrozenPrimary(t *testing.T) {
	t.Parallel()
	a := dbtest.StartPostgres(t)
	b := a.Standby()
	s := testSet(t, nil)
	apply(t, s, database(resource.HealthCheckPostgres, dbtest.SCRAMUser, a.Port(), b.Port()))
	c := running(t, s, "db")
	a.Freeze()
	eventually(t, "the frozen primary to be noticed", health(c.Table().Shards[0].Primary, false))
	b.Promote()
	eventually(t, "the promoted standby", shaped(c, "db="+b.Addr()+"+"+a.Addr()))
	a.Thaw()
	eventually(t, "the old primary to answer", health(c.Table().Shards[0].Replicas[0], true))
	if err := shaped(c, "db="+b.Addr()+"+"+a.Addr())(); err != nil {
		t.Errorf("after the old primary went on: %v", err)
	}
}

// TestPostgresRefresh: a filter that meets a server that does not write any more
// has everybody asked at once.
func TestPostgresRefresh(t *testing.T) {
	t.Parallel()
	a := dbtest.StartPostgres(t)
	b := a.Standby()
	spec := database(resource.HealthCheckPostgres, dbtest.SCRAMUser, a.Port(), b.Port())
	spec.HealthCheck.Interval = time.Hour
	spec.HealthCheck.Timeout = 10 * time.Second
	s := testSet(t, nil)
	apply(t, s, spec)
	c := running(t, s, "db")
	a.SQL("alter system set default_transaction_read_only = on")
	a.SQL("select pg_reload_conf()")
	eventually(t, "the primary to be known as read only", func() error {
		c.Refresh("25006")
		if p := c.Table().Shards[0].Primary; p == nil || !p.ReadOnly() {
			return errors.New("it is not")
		}
		return nil
	})
	b.Promote()
	eventually(t, "the promoted standby", func() error {
		c.Refresh("25006")
		return shaped(c, "db="+b.Addr()+"+"+a.Addr())()
	})
	if n := a.SQL("select count(*) from pg_stat_activity where application_name = 'dragoman health check'"); n != "1" {
		t.Errorf("%s sessions at the server, want the one that is kept", n)
	}
}

// TestMariaDBSwitchover: read_only is who is not the primary.
func TestMariaDBSwitchover(t *testing.T) {
	t.Parallel()
	a := dbtest.StartMariaDB(t, dbtest.MariaDBPrimary())
	b := a.Replica()
	s := testSet(t, nil)
	apply(t, s, database(resource.HealthCheckMySQL, dbtest.NativeUser, a.Port(), b.Port()))
	c := running(t, s, "db")
	told := listening(t, c)
	if err := shaped(c, "db="+a.Addr()+"+"+b.Addr())(); err != nil {
		t.Errorf("as soon as it is warm: %v", err)
	}
	a.SQL("SET GLOBAL read_only = 1")
	noticed(t, c, "db=+"+a.Addr()+","+b.Addr(), told)
	b.SQL("STOP SLAVE; SET GLOBAL read_only = 0")
	noticed(t, c, "db="+b.Addr()+"+"+a.Addr(), told)
	a.SQL("SET GLOBAL read_only = 0") // a mistake: nothing is to change
	eventually(t, "the mistake to be known", func() error {
		for _, e := range s.Snapshot()[0].Endpoints {
			if e.LastRole != "primary" {
				return fmt.Errorf("%s says that it is a %s", e.Address, e.LastRole)
			}
		}
		return nil
	})
	if err := shaped(c, "db="+b.Addr()+"+"+a.Addr())(); err != nil {
		t.Errorf("with two that take writes: %v", err)
	}
}

// TestMariaDBMissedProbe: a primary that misses some probes stays the primary until it
// is out of use, though its replica would take writes, too.
func TestMariaDBMissedProbe(t *testing.T) {
	t.Parallel()
	a := dbtest.StartMariaDB(t, dbtest.MariaDBPrimary())
	b := a.Replica()
	b.SQL("SET GLOBAL read_only = 0")
	spec := database(resource.HealthCheckMySQL, dbtest.NativeUser, a.Port(), b.Port())
	spec.HealthCheck.UnhealthyThreshold, spec.HealthCheck.Timeout = 1000, 200*time.Millisecond
	s := testSet(t, nil)
	apply(t, s, spec)
	c := running(t, s, "db")
	primary := shaped(c, "db="+a.Addr()+"+"+b.Addr())
	eventually(t, "the first to be the primary", primary)
	a.Freeze()
	eventually(t, "probes to be missed", func() error {
		if n := c.stats.checkFailures.Load(); n < 3 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if err := primary(); err != nil {
		t.Errorf("while it is well: %v", err)
	}
	c.Report(c.Table().Shards[0].Primary, filters.ConnectFailure)
	eventually(t, "the replica to take over", shaped(c, "db="+b.Addr()+"+"+a.Addr()))
}

// TestDatabaseLogin: the password is read at each login, and one that is wrong
// makes the endpoint unhealthy.
func TestDatabaseLogin(t *testing.T) {
	t.Parallel()
	a := dbtest.StartPostgres(t)
	spec := database(resource.HealthCheckPostgres, dbtest.SCRAMUser, a.Port())
	spec.Secrets = nil
	store := func(password string) filters.SecretSource {
		return secrets.NewStore([]*resource.Secret{secret("user", dbtest.SCRAMUser), secret("password", password)})
	}
	s := testSet(t, nil)
	for _, password := range []string{"wrong", dbtest.Password} {
		if err := s.Apply([]*resource.Cluster{spec}, store(password)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := s.Warm(ctx, []string{"db"}); err != nil {
			t.Fatal(err)
		}
		cancel()
		eventually(t, "the verdict with password "+password, health(running(t, s, "db").Table().Shards[0].Primary, password == dbtest.Password))
		v := s.Snapshot()[0].Endpoints[0]
		if password == "wrong" && !strings.Contains(v.LastError, "28P01") {
			t.Errorf("view says %q", v.LastError)
		}
	}
}
