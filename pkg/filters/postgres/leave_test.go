package postgres

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// twoEnvironments starts a filter that leads to dev, and makes prod.
func twoEnvironments(t *testing.T) (f *fixture, dev, prod *dbtest.Postgres, next *resource.PostgresFilter) {
	t.Helper()
	dev, prod = dbtest.StartPostgres(t), dbtest.StartPostgres(t)
	for _, s := range []*dbtest.Postgres{dev, prod} {
		s.SQL("create table log (worker int, n int, part int)")
	}
	dev.SQL("create table env as select 'dev' as name")
	prod.SQL("create table env as select 'prod' as name")
	f = start(t, config(), dev.Addr())
	f.world.Add("prod").Lead(nil, prod.Addr())
	next = config()
	next.Cluster = "prod"
	return f, dev, prod, next
}

// TestDrainUnderLoad: the environment changes while clients work. Each
// transaction is committed where it began or its client is told 57P01 between
// two of them; afterwards all are in the new environment.
func TestDrainUnderLoad(t *testing.T) {
	t.Parallel()
	f, dev, prod, next := twoEnvironments(t)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	var stop atomic.Bool
	var inDev, inProd atomic.Int64
	for worker := range 8 {
		wg.Go(func() {
			for n := 0; !stop.Load(); {
				conn, err := pgx.Connect(ctx, f.dsn())
				if err != nil {
					t.Errorf("connecting: %v", err)
					return
				}
				for !stop.Load() {
					n++
					env, err := f.transaction(ctx, conn, worker, n, worker%2 == 1)
					if err == nil {
						map[string]*atomic.Int64{"dev": &inDev, "prod": &inProd}[env].Add(1)
						continue
					}
					if codeOf(err) != "57P01" {
						t.Errorf("worker %d: %v", worker, err)
					}
					break
				}
				_ = conn.Close(ctx)
			}
		})
	}
	eventually(t, "work to be done in dev", func() bool { return inDev.Load() > 100 })
	done := f.swap(next, filters.Retirement{Deadline: 20 * time.Second})
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("sessions do not leave")
	}
	// The server's count: a client may have its answer, and not have counted it yet.
	at := dev.SQL("select count(*) from log")
	eventually(t, "work to be done in prod", func() bool { return inProd.Load() > 100 })
	stop.Store(true)
	wg.Wait()
	if got := dev.SQL("select count(*) from log"); got != at {
		t.Errorf("work was done in dev after all had left: %s rows, and then %s", at, got)
	}
	for name, s := range map[string]*dbtest.Postgres{"dev": dev, "prod": prod} {
		if torn := s.SQL("select count(*) from (select 1 from log group by worker, n having count(*) <> 2) x"); torn != "0" {
			t.Errorf("%s: %s transactions are torn", name, torn)
		}
	}
	got := [2]string{dev.SQL("select count(*) / 2 from log"), prod.SQL("select count(*) / 2 from log")}
	if want := [2]string{strconv.FormatInt(inDev.Load(), 10), strconv.FormatInt(inProd.Load(), 10)}; got != want {
		t.Errorf("committed in dev and prod: %v, the clients say %v", got, want)
	}
	if f.metric("closed_total", "drained") == 0 || f.metric("closed_total", "retired") != 0 {
		t.Error("sessions were not drained, or were cut")
	}
}

// transaction writes twice and says in which environment.
func (f *fixture) transaction(ctx context.Context, conn *pgx.Conn, worker, n int, pipelined bool) (env string, err error) {
	if pipelined {
		b := &pgx.Batch{}
		b.Queue("begin")
		b.Queue("insert into log values ($1, $2, 1)", worker, n)
		b.Queue("insert into log values ($1, $2, 2)", worker, n)
		b.Queue("select name from env").QueryRow(func(row pgx.Row) error { return row.Scan(&env) })
		b.Queue("commit")
		return env, conn.SendBatch(ctx, b).Close()
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	for part := range 2 {
		if _, err := tx.Exec(ctx, "insert into log values ($1, $2, $3)", worker, n, part); err != nil {
			return "", err
		}
	}
	if err := tx.QueryRow(ctx, "select name from env").Scan(&env); err != nil {
		return "", err
	}
	return env, tx.Commit(ctx)
}

// TestDrain: where a session ends when its environment does.
func TestDrain(t *testing.T) {
	t.Parallel()
	f, dev, _, next := twoEnvironments(t)
	ctx := withTimeout(t)
	idle, inTransaction, busy := f.connect(), f.connect(), f.connect()
	if _, err := inTransaction.Exec(ctx, "begin; insert into log values (1, 1, 1)"); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() {
		_, err := busy.Exec(ctx, "select pg_sleep(4)")
		answer <- err
	}()
	eventually(t, "the query to run", func() bool {
		return dev.SQL("select count(*) from pg_stat_activity where query = 'select pg_sleep(4)' and state = 'active'") == "1"
	})
	done := f.swap(next, filters.Retirement{Deadline: 20 * time.Second})
	eventually(t, "the idle session to be ended", func() bool { return f.metric("closed_total", "drained") == 1 })
	if _, err := idle.Exec(ctx, "select 1"); codeOf(err) != "57P01" {
		t.Errorf("an idle session: %v", err)
	}
	if got := f.must("select name from env"); got != "prod" {
		t.Errorf("a new session is in %q", got)
	}
	if got := one[string](t, inTransaction, "select name from env"); got != "dev" {
		t.Errorf("the transaction goes on in %q", got)
	}
	if _, err := inTransaction.Exec(ctx, "commit"); err != nil {
		t.Errorf("the commit: %v", err)
	}
	if _, err := inTransaction.Exec(ctx, "select 1"); codeOf(err) != "57P01" {
		t.Errorf("after the commit: %v", err)
	}
	if err := <-answer; err != nil {
		t.Errorf("the answer of the query: %v", err)
	}
	if _, err := busy.Exec(ctx, "select 1"); codeOf(err) != "57P01" {
		t.Errorf("after the answer: %v", err)
	}
	<-done
	if got := dev.SQL("select count(*) from log"); got != "1" {
		t.Errorf("dev has %s rows", got)
	}
	eventually(t, "dev to be left", func() bool {
		return dev.SQL("select count(*) from pg_stat_activity where usename = 'u_scram'") == "0"
	})
}

// TestDrainCopy: COPY is one transaction, and comes to its end.
func TestDrainCopy(t *testing.T) {
	t.Parallel()
	f, dev, _, next := twoEnvironments(t)
	conn := f.connect()
	more, written := make(chan struct{}), 0
	source := pgx.CopyFromFunc(func() ([]any, error) {
		if written == 5000 {
			<-more
		}
		written++
		if written > 20_000 {
			return nil, nil
		}
		return []any{int32(1), int32(written), int32(1)}, nil
	})
	ended := make(chan error, 1)
	go func() {
		_, err := conn.CopyFrom(context.Background(), pgx.Identifier{"log"}, []string{"worker", "n", "part"}, source)
		ended <- err
	}()
	eventually(t, "COPY to run", func() bool {
		return dev.SQL("select count(*) from pg_stat_activity where query like 'copy%stdin%'") == "1"
	})
	done := f.swap(next, filters.Retirement{Deadline: 20 * time.Second})
	close(more)
	if err := <-ended; err != nil {
		t.Errorf("COPY: %v", err)
	}
	<-done
	if got := dev.SQL("select count(*) from log"); got != "20000" {
		t.Errorf("dev has %s rows", got)
	}
}

// TestDrainOfAlwaysAhead: a client that writes without waiting for answers is
// answered up to some query, and then told 57P01; until it has read that, it can
// write.
func TestDrainOfAlwaysAhead(t *testing.T) {
	t.Parallel()
	f, _, _, next := twoEnvironments(t)
	c := f.dial()
	if _, err := c.Write(hello(t)); err != nil {
		t.Fatal(err)
	}
	var answered atomic.Int64
	end, last := make(chan struct{}), ""
	go func() {
		defer close(end)
		in := bufio.NewReader(c)
		var head [5]byte
		for {
			if _, err := io.ReadFull(in, head[:]); err != nil {
				return
			}
			payload := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
			if _, err := io.ReadFull(in, payload); err != nil {
				return
			}
			last = string(head[:1]) + string(payload)
			if head[0] == pgproto.TypeReadyForQuery {
				answered.Add(1)
			}
		}
	}()
	query := pgproto.AppendQuery(nil, "select 1")
	writing := make(chan error, 1)
	go func() {
		for {
			select {
			case <-end:
				writing <- nil
				return
			default:
			}
			if _, err := c.Write(query); err != nil {
				writing <- err
				return
			}
		}
	}()
	eventually(t, "queries to be answered", func() bool { return answered.Load() > 100 })
	<-f.swap(next, filters.Retirement{Deadline: 20 * time.Second})
	<-end
	if !strings.HasPrefix(last, "E") || !strings.Contains(last, "C57P01") {
		t.Errorf("the last message is %q", last)
	}
	if err := <-writing; err != nil {
		t.Errorf("writing before that was read: %v", err)
	}
}

// TestDeadlineAndCut: what does not come to an end is ended, and its query too.
func TestDeadlineAndCut(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]filters.Retirement{
		"deadline": {Deadline: 300 * time.Millisecond},
		"cut":      {Cut: true, Deadline: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, dev, _, next := twoEnvironments(t)
			busy, open := f.connect(), f.connect()
			if _, err := open.Exec(withTimeout(t), "begin; insert into log values (1, 1, 1)"); err != nil {
				t.Fatal(err)
			}
			answer := make(chan error, 1)
			go func() {
				_, err := busy.Exec(context.Background(), "select pg_sleep(600)")
				answer <- err
			}()
			eventually(t, "the query to run", func() bool {
				return dev.SQL("select count(*) from pg_stat_activity where query = 'select pg_sleep(600)'") == "1"
			})
			select {
			case <-f.swap(next, r):
			case <-time.After(10 * time.Second):
				t.Fatal("sessions stay")
			}
			if err := <-answer; codeOf(err) != "57P01" {
				t.Errorf("the query: %v", err)
			}
			if _, err := open.Exec(withTimeout(t), "commit"); codeOf(err) != "57P01" {
				t.Errorf("the transaction: %v", err)
			}
			eventually(t, "dev to be left", func() bool {
				return dev.SQL("select count(*) from pg_stat_activity where usename = 'u_scram'") == "0"
			})
			if got := dev.SQL("select count(*) from log"); got != "0" {
				t.Errorf("dev has %s rows", got)
			}
		})
	}
}

// TestShutdown: the proxy's own end is as one of the server.
func TestShutdown(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, config(), server.Addr())
	idle, open := f.connect(), f.connect()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := open.Exec(ctx, "begin"); err != nil {
		t.Fatal(err)
	}
	drained := make(chan error, 1)
	go func() { drained <- f.builder.Drain(ctx) }()
	var ended error
	eventually(t, "the idle session to end", func() bool {
		_, ended = idle.Exec(ctx, "select 1") // may be sooner than Drain
		return ended != nil
	})
	if codeOf(ended) != "57P01" {
		t.Errorf("an idle session: %v", ended)
	}
	if _, err := open.Exec(ctx, "commit"); err != nil {
		t.Errorf("an open transaction: %v", err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// TestIdleTimeout ends a session that is quiet, and none that works.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	cfg := config()
	cfg.Limits.IdleTimeout = 1500 * time.Millisecond
	f := start(t, cfg, server.Addr())
	conn := f.connect()
	if _, err := conn.Exec(withTimeout(t), "select pg_sleep(3)"); err != nil {
		t.Errorf("a session that works: %v", err)
	}
	eventually(t, "the session to end", func() bool { return f.metric("closed_total", "idle_timeout") == 1 })
	if _, err := conn.Exec(withTimeout(t), "select 1"); codeOf(err) != "57P05" {
		t.Errorf("a session that is quiet: %v", err)
	}
}
