package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// readers ask over the port for reads where they are, each time by a new session, until they are stopped. None may be left without an answer, or write.
func (d *replicated) readers(n int) (readAt func(*dbtest.Server) int64, stop func()) {
	var over atomic.Bool
	var wg sync.WaitGroup
	counts := &sync.Map{}
	for range n {
		wg.Go(func() {
			for !over.Load() {
				port := 0
				err := within(func(ctx context.Context) (err error) {
					port, err = d.readOnce(ctx)
					return err
				})
				if err == nil {
					count, _ := counts.LoadOrStore(port, new(atomic.Int64))
					count.(*atomic.Int64).Add(1)
				}
				if errors.Is(err, context.DeadlineExceeded) {
					d.t.Errorf("a reader is left without an answer: %v", err)
				}
			}
		})
	}
	stop = func() { over.Store(true); wg.Wait() }
	d.t.Cleanup(stop)
	return func(s *dbtest.Server) int64 {
		if count, ok := counts.Load(s.Port()); ok {
			return count.(*atomic.Int64).Load()
		}
		return 0
	}, stop
}

func (d *replicated) readOnce(ctx context.Context) (port int, err error) {
	s, err := d.open(ctx, d.readsPort)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if err := s.Exec(ctx, "insert into log values (-1, 0, 0)"); err == nil {
		d.t.Error("a reader has written")
	}
	return d.at(ctx, s)
}

// follow has a server follow another from now on; one that was a primary is started again as a standby.
func follow(t *testing.T, s, primary *dbtest.Postgres) {
	t.Helper()
	s.SQL(fmt.Sprintf("alter system set primary_conninfo = 'host=%s port=%d user=%s'", primary.Dir(), primary.Port(), dbtest.ReplicaUser))
	if s.SQL("select pg_is_in_recovery()") == "t" {
		s.SQL("select pg_reload_conf()")
		return
	}
	s.SQL("copy (select '') to '" + s.Dir() + "/data/standby.signal'")
	s.Restart()
}

// TestFailoverOfThree: of a primary and two standbys the primary is killed, and one of the others promoted; the third does not follow at first. Then the old
// primary comes back, as a primary and as a standby; and at last both standbys are away for a while. Clients read and write throughout.
func TestFailoverOfThree(t *testing.T) {
	t.Parallel()
	a := startPostgresPrimary(t)
	b, c := a.Standby(), a.Standby()
	d := startReplicated(t, postgresKind(), dbtest.SCRAMUser, "", &a.Server, &b.Server, &c.Server)
	committedAt, stopWriters := d.writers(3)
	readAt, stopReaders := d.readers(3)
	d.awaitWork(committedAt, &a.Server, 20)
	d.awaitWork(readAt, &b.Server, 5)
	d.awaitWork(readAt, &c.Server, 5)

	a.Kill()
	b.Promote()
	d.awaitWork(committedAt, &b.Server, 20)
	d.awaitWork(readAt, &c.Server, 10) // a standby that follows nobody is one nevertheless
	follow(t, c, b)
	redistest.Eventually(t, clientLimit, "the other standby to follow", func() error {
		want := b.SQL("select pg_current_wal_lsn()")
		if got, err := c.TrySQL(dbtest.Database, "select pg_last_wal_replay_lsn() >= '"+want+"'"); err != nil || got != "t" {
			return fmt.Errorf("%q, %w", got, err)
		}
		return nil
	})

	lost := committedAt(&a.Server)
	a.Restart()
	d.awaitLog("several servers say that they are the primary")
	atOld := readAt(&a.Server)
	d.awaitWork(committedAt, &b.Server, 20)
	d.awaitWork(readAt, &c.Server, 20)
	if n, m := committedAt(&a.Server)-lost, readAt(&a.Server)-atOld; n != 0 || m != 0 {
		t.Errorf("%d transactions and %d reads at the old primary after it came back", n, m)
	}
	follow(t, a, b)
	d.awaitShows("/clusters", "::"+a.Addr()+"::role::replica")
	d.awaitWork(readAt, &a.Server, 5)
	d.awaitWork(committedAt, &b.Server, 5)

	a.Freeze()
	c.Freeze()
	d.awaitWork(readAt, &b.Server, 10)
	d.awaitWork(committedAt, &b.Server, 20)
	a.Thaw()
	c.Thaw()
	for _, s := range []*dbtest.Server{&a.Server, &c.Server} {
		d.awaitWork(readAt, s, 5)
	}
	stopReaders()
	stopWriters()
	got := b.SQL("select count(*) filter (where n = 2) - count(*) || ' ' || count(*) - " + fmt.Sprint(committedAt(&b.Server)) +
		" from (select count(*) as n from log group by worker, n) x")
	if torn, kept, _ := strings.Cut(got, " "); torn != "0" || strings.HasPrefix(kept, "-") {
		t.Errorf("torn transactions: %s; there are so many beside those that were committed there: %s", torn, kept)
	}
}

// TestStandbysComeAndGo: while standbys are killed, started again and frozen in turn, readers always find the one that is there.
func TestStandbysComeAndGo(t *testing.T) {
	t.Parallel()
	primary := startPostgresPrimary(t)
	standbys := []*dbtest.Postgres{primary.Standby(), primary.Standby()}
	d := startReplicated(t, postgresKind(), dbtest.SCRAMUser, "", &primary.Server, &standbys[0].Server, &standbys[1].Server)
	committedAt, _ := d.writers(1)
	readAt, stop := d.readers(4)
	for round := range 4 {
		away, here := standbys[round%2], standbys[1-round%2]
		d.awaitWork(readAt, &away.Server, 5)
		if round < 2 {
			away.Kill()
		} else {
			away.Freeze()
		}
		d.awaitWork(readAt, &here.Server, 20)
		d.awaitWork(committedAt, &primary.Server, 5)
		if round < 2 {
			away.Restart()
		} else {
			away.Thaw()
		}
	}
	for _, s := range standbys {
		d.awaitWork(readAt, &s.Server, 5)
	}
	stop()
	redistest.Eventually(t, clientLimit, "no session of a reader to be left", func() error {
		for _, s := range standbys {
			if n := s.Sessions(dbtest.SCRAMUser); n != 1 { // that of the health check
				return fmt.Errorf("%d sessions at %s", n, s.Addr())
			}
		}
		return nil
	})
}

// TestAuthorityRotation: the authority of a server's certificate is exchanged while apps connect. With both in the file for a while nobody is refused; where the server is
// the first to change, apps are refused until the file has the new one, and no longer, also with standbys and their health.
func TestAuthorityRotation(t *testing.T) {
	t.Parallel()
	for name, kind := range databaseKinds() {
		for _, standbys := range []string{"", "standbys: [{address: \"127.0.0.1:1\"}], "} {
			t.Run(name+" "+standbys, func(t *testing.T) {
				t.Parallel()
				rotateAuthority(t, kind, standbys)
			})
		}
	}
}

func rotateAuthority(t *testing.T, kind *databaseKind, standbys string) {
	var authorities [3]*redistest.PKI
	var texts [3]string
	for i := range authorities {
		authorities[i] = redistest.NewPKI(t)
		b, err := os.ReadFile(authorities[i].CAFile)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(b)
	}
	server := kind.start(t, authorities[0])
	dir := t.TempDir()
	ca, port := filetest.Put(t, filepath.Join(dir, "ca.crt"), texts[0]), redistest.Port(t)
	file := filetest.Put(t, filepath.Join(dir, "mesh.yaml"), fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: orders}
spec:
  protocol: %s
  listen: {port: %d}
  environments:
    prod: {address: %q, %sdatabase: app, credentials: {username: u_tls, passwordEnv: FIRST_SECRET}, tls: {mode: verify-full, caFile: %q}}
  defaultEnvironment: prod
`, kind.protocol, port, server.Addr(), standbys, ca))
	p := launch(t, []string{"FIRST_SECRET=" + dbtest.Password}, "run", "-f", file)
	p.awaitReady()
	visit := func() error {
		return within(func(ctx context.Context) error {
			s, err := kind.open(ctx, fmt.Sprintf(kind.dsn, port))
			if err != nil {
				return err
			}
			defer s.Close()
			return s.Exec(ctx, "select 1")
		})
	}
	var over atomic.Bool
	var visits atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for !over.Load() {
				if err := visit(); err != nil {
					t.Errorf("while both are known: %v", err)
					return
				}
				visits.Add(1)
			}
		})
	}
	more := func() {
		want := visits.Load() + 60
		redistest.Eventually(t, clientLimit, "more visits", func() error {
			if n := visits.Load(); n < want && !t.Failed() {
				return fmt.Errorf("%d", n)
			}
			return nil
		})
	}
	more()
	filetest.Put(t, ca, texts[0]+texts[1])
	more()
	server.Certify(authorities[1])
	more()
	over.Store(true)
	wg.Wait()
	filetest.Put(t, ca, texts[1])
	redistest.Eventually(t, clientLimit, "the server to show the new certificate", visit)
	server.Certify(authorities[2])
	redistest.Eventually(t, clientLimit, "apps to be refused", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s, err := kind.open(ctx, fmt.Sprintf(kind.dsn, port))
		if err != nil {
			return nil
		}
		return errors.Join(errors.New("they are not"), s.Close())
	})
	filetest.Put(t, ca, texts[2])
	redistest.Eventually(t, clientLimit, "apps to be let in", visit)
}
