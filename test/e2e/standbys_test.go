package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// replicated is a proxy in front of a primary and its standbys, with a port for reads.
type replicated struct {
	*Proxy
	*databaseKind
	port, readsPort int
}

// startReplicated starts a proxy. more is put into the document behind the protocol's settings.
func startReplicated(t *testing.T, kind *databaseKind, user, more string, primary *dbtest.Server, standbys ...*dbtest.Server) *replicated {
	t.Helper()
	d := &replicated{databaseKind: kind, port: redistest.Port(t), readsPort: redistest.Port(t)}
	var list []string
	for _, s := range standbys {
		list = append(list, fmt.Sprintf("{address: %q}", s.Addr()))
	}
	file := filetest.Put(t, filepath.Join(t.TempDir(), "mesh.yaml"), fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: orders}
spec:
  protocol: %s
  listen: {port: %d}
  readOnly: {port: %d}
  limits: {maxWait: 30s}
  drainDeadline: 10s
  %s:
    healthCheck: {interval: 200ms, timeout: 1s}
    %s
  environments:
    prod:
      address: %q
      standbys: [%s]
      database: app
      credentials: {username: %s, passwordEnv: FIRST_SECRET}
  defaultEnvironment: prod
`, kind.protocol, d.port, d.readsPort, kind.protocol, more, primary.Addr(), strings.Join(list, ", "), user))
	d.Proxy = launch(t, []string{"FIRST_SECRET=" + dbtest.Password}, "run", "-f", file)
	d.awaitReady()
	return d
}

// startPostgresPrimary starts a primary that has a table log.
func startPostgresPrimary(t *testing.T) *dbtest.Postgres {
	t.Helper()
	primary := dbtest.StartPostgres(t)
	primary.SQL("create table log (worker int, n int, part int)")
	return primary
}

func postgresPair(t *testing.T) (user string, primary, standby *dbtest.Server, promote func()) {
	t.Helper()
	a := startPostgresPrimary(t)
	b := a.Standby()
	return dbtest.SCRAMUser, &a.Server, &b.Server, b.Promote
}

func (d *replicated) open(ctx context.Context, port int) (dbtest.Session, error) {
	return d.databaseKind.open(ctx, fmt.Sprintf(d.dsn, port))
}

// connect opens a session, which ends with the test.
func (d *replicated) connect(ctx context.Context, port int) dbtest.Session {
	d.t.Helper()
	s, err := d.open(ctx, port)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = s.Close() })
	return s
}

// at asks a session on which server it is, by its port.
func (d *replicated) at(ctx context.Context, s dbtest.Session) (port int, err error) {
	text, err := s.Value(ctx, d.where)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

// clientLimit is how long a client may be left without an answer: longer than it takes to notice, shorter than a client hangs.
const clientLimit = 60 * time.Second

// write commits transactions and connects again whenever that fails, until it is stopped. No step may take longer than clientLimit.
func (d *replicated) write(worker int, stop *atomic.Bool, committed *sync.Map) {
	for n := 0; !stop.Load(); {
		var s dbtest.Session
		err := within(func(ctx context.Context) (err error) {
			s, err = d.open(ctx, d.port)
			return err
		})
		for err == nil && !stop.Load() {
			n++
			var port string
			err = within(func(ctx context.Context) (err error) {
				port, err = s.Transaction(ctx, d.where, worker, n)
				return err
			})
			if err == nil {
				count, _ := committed.LoadOrStore(port, new(atomic.Int64))
				count.(*atomic.Int64).Add(1)
			}
		}
		if errors.Is(err, context.DeadlineExceeded) {
			d.t.Errorf("worker %d is left without an answer: %v", worker, err)
		}
		if s != nil {
			_ = s.Close()
		}
	}
}

// within does one step of a client.
func within(step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), clientLimit)
	defer cancel()
	return step(ctx)
}

func (d *replicated) writers(n int) (committedAt func(*dbtest.Server) int64, stop func()) {
	var over atomic.Bool
	var wg sync.WaitGroup
	committed := &sync.Map{}
	for worker := range n {
		wg.Go(func() { d.write(worker, &over, committed) })
	}
	stop = func() { over.Store(true); wg.Wait() }
	d.t.Cleanup(stop)
	return func(s *dbtest.Server) int64 {
		if count, ok := committed.Load(strconv.Itoa(s.Port())); ok {
			return count.(*atomic.Int64).Load()
		}
		return 0
	}, stop
}

func (d *replicated) awaitWork(committedAt func(*dbtest.Server) int64, s *dbtest.Server, more int64) {
	d.t.Helper()
	want := committedAt(s) + more
	redistest.Eventually(d.t, clientLimit, "transactions at "+s.Addr(), func() error {
		if n := committedAt(s); n < want {
			return fmt.Errorf("%d, want %d", n, want)
		}
		return nil
	})
}

// TestStandbyTakesOver: clients write, the primary is killed and a standby promoted; everybody goes on there. The old primary comes back
// as one, of an older timeline, and nobody writes to it.
func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	user, a, b, promote := postgresPair(t)
	d := startReplicated(t, postgresKind(), user, "", a, b)
	committedAt, stop := d.writers(4)
	d.awaitWork(committedAt, a, 20)
	a.Kill()
	promote()
	promoted := time.Now()
	d.awaitWork(committedAt, b, 1)
	t.Logf("the first transaction after the promotion: %v", time.Since(promoted))
	d.awaitWork(committedAt, b, 20)
	d.awaitShows("/clusters", "::"+b.Addr()+"::role::primary")
	d.awaitShows("/clusters", "::"+b.Addr()+"::timeline::2")
	before := committedAt(a)
	a.Restart()
	d.awaitLog("several servers say that they are the primary")
	d.awaitWork(committedAt, b, 50)
	stop()
	if n := committedAt(a); n != before {
		t.Errorf("%d transactions at the old primary after it came back", n-before)
	}
	if got := b.SQL("select count(*) from (select worker, n from log group by worker, n having count(*) <> 2) x"); got != "0" {
		t.Errorf("%s torn transactions", got)
	}
}

// TestFrozenPrimary: the primary does not answer any more, nor does it close anything. Once another is the primary, sessions that wait for
// the old one are ended, those that are about to begin there begin elsewhere, and new ones too.
func TestFrozenPrimary(t *testing.T) {
	t.Parallel()
	for name, kind := range databaseKinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			frozenPrimary(t, kind)
		})
	}
}

func frozenPrimary(t *testing.T, kind *databaseKind) {
	user, a, b, promote := kind.pair(t)
	d := startReplicated(t, kind, user, "", a, b)
	ctx, cancel := context.WithTimeout(context.Background(), 3*clientLimit)
	defer cancel()
	idle, busy := d.connect(ctx, d.port), d.connect(ctx, d.port)
	if port, err := d.at(ctx, busy); err != nil || port != a.Port() {
		t.Errorf("before: port %d, %v", port, err)
	}
	a.Freeze()
	answer := make(chan error, 1)
	go func() { answer <- busy.Exec(ctx, "select 1") }()
	entered := make(chan error, 1)
	go func() {
		s, err := d.open(ctx, d.port)
		if err != nil {
			entered <- err
			return
		}
		defer s.Close()
		port, err := d.at(ctx, s)
		if err == nil && port != b.Port() {
			err = fmt.Errorf("it is at port %d, want %d", port, b.Port())
		}
		entered <- err
	}()
	d.awaitShows("/clusters", "::"+a.Addr()+"::health_flags::/failed_active_hc")
	promote()
	if err := <-answer; dbtest.Code(err) != d.retired {
		t.Errorf("a query that waits for the frozen server: %v", err)
	}
	if err := idle.Exec(ctx, "select 1"); !d.over(err) {
		t.Errorf("a session that was idle: %v", err)
	}
	if err := <-entered; err != nil {
		t.Errorf("a session that began at the frozen server: %v", err)
	}
	if port, err := d.at(ctx, d.connect(ctx, d.port)); err != nil || port != b.Port() {
		t.Errorf("a new session is at port %d, %v", port, err)
	}
}

// TestDemotedPrimary: the primary is made read only and a standby promoted. Sessions go on to the end of their transaction and are then told
// to connect anew; a session that finds out first is enough to have everybody asked.
func TestDemotedPrimary(t *testing.T) {
	t.Parallel()
	for _, pool := range []string{"", "pool: {mode: Transaction, size: 4}"} {
		t.Run(pool, func(t *testing.T) {
			t.Parallel()
			user, a, b, promote := postgresPair(t)
			d := startReplicated(t, postgresKind(), user, pool, a, b)
			ctx, cancel := context.WithTimeout(context.Background(), 3*clientLimit)
			defer cancel()
			committedAt, stop := d.writers(3)
			d.awaitWork(committedAt, a, 20)
			inside := d.connect(ctx, d.port)
			if err := inside.Exec(ctx, "begin; insert into log values (99, 0, 0), (99, 0, 1)"); err != nil {
				t.Fatal(err)
			}
			a.SQL("alter system set default_transaction_read_only = on")
			a.SQL("select pg_reload_conf()")
			d.awaitShows("/clusters", "::"+a.Addr()+"::read_only::true")
			if err := inside.Exec(ctx, "commit"); err != nil {
				t.Errorf("the end of a transaction that was under way: %v", err)
			}
			promote()
			d.awaitWork(committedAt, b, 20)
			stop()
			if pool == "" {
				if err := inside.Exec(ctx, "select 1"); dbtest.Code(err) != "57P01" {
					t.Errorf("after the transaction: %v", err)
				}
			}
			if n := a.SQL("select count(*) from pg_stat_activity where usename = 'u_scram' and application_name not like 'dragoman%'"); n != "0" {
				t.Errorf("%s sessions are left at the old primary", n)
			}
		})
	}
}

// TestReadOnlyPort: sessions of the second port are spread over the standbys and cannot write; while there is no standby they are at the
// primary, and still do not write.
func TestReadOnlyPort(t *testing.T) {
	t.Parallel()
	primary := startPostgresPrimary(t)
	standbys := []*dbtest.Postgres{primary.Standby(), primary.Standby()}
	d := startReplicated(t, postgresKind(), dbtest.SCRAMUser, "", &primary.Server, &standbys[0].Server, &standbys[1].Server)
	ctx, cancel := context.WithTimeout(context.Background(), 3*clientLimit)
	defer cancel()
	d.awaitShows("/clusters", "::"+standbys[1].Addr()+"::role::replica")
	var conns []dbtest.Session
	places := map[int]int{}
	for range 10 {
		conn := d.connect(ctx, d.readsPort)
		port, err := d.at(ctx, conn)
		if err != nil {
			t.Fatal(err)
		}
		places[port]++
		conns = append(conns, conn)
	}
	for _, s := range standbys {
		if places[s.Port()] != 5 {
			t.Errorf("sessions by port: %v, want 5 at each of %d and %d", places, standbys[0].Port(), standbys[1].Port())
		}
	}
	if err := d.shows("/clusters", "::"+standbys[0].Addr()+"::sessions::5"); err != nil {
		t.Error(err)
	}
	for _, conn := range []dbtest.Session{conns[0], conns[1]} {
		if err := conn.Exec(ctx, "insert into log values (1, 1, 1)"); dbtest.Code(err) != "25006" {
			t.Errorf("a write at a standby: %v", err)
		}
	}
	standbys[0].Kill()
	for _, conn := range conns {
		port, err := d.at(ctx, conn)
		if err == nil && port != standbys[1].Port() {
			t.Errorf("a session is at port %d", port)
		}
	}
	if port, err := d.at(ctx, d.connect(ctx, d.readsPort)); err != nil || port != standbys[1].Port() {
		t.Errorf("with one standby left: port %d, %v", port, err)
	}
	standbys[1].Kill()
	conn := d.connect(ctx, d.readsPort)
	if port, err := d.at(ctx, conn); err != nil || port != primary.Port() {
		t.Errorf("without a standby: port %d, %v", port, err)
	}
	if err := conn.Exec(ctx, "insert into log values (1, 1, 1)"); dbtest.Code(err) != "25006" {
		t.Errorf("a write over the port for reads: %v", err)
	}
	if n := primary.SQL("select count(*) from log"); n != "0" {
		t.Errorf("%s rows were written over the port for reads", n)
	}
	standbys[0].Restart()
	redistest.Eventually(t, clientLimit, "the standby to be used again", func() error {
		again, err := d.open(ctx, d.readsPort)
		if err != nil {
			return err
		}
		defer again.Close()
		if port, err := d.at(ctx, again); err != nil || port != standbys[0].Port() {
			return fmt.Errorf("port %d, %w", port, err)
		}
		return nil
	})
}
