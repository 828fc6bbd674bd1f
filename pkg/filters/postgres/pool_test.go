package postgres

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// pooled is config with a pool.
func pooled(mode string, size uint32) *resource.PostgresFilter {
	cfg := config()
	cfg.Pool = &resource.PostgresPool{
		Session: mode == "session", Size: size, ResetQuery: resource.DefaultResetQuery, MaxStatements: resource.DefaultMaxStatements,
	}
	return cfg
}

// TestPoolProtocol: what a session may consist of goes through a pool.
func TestPoolProtocol(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	server.SQL("create table rows (n int, text text)")
	for _, mode := range []string{"session", "transaction"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := start(t, pooled(mode, 2), server.Addr())
			if got := f.must("select current_user, current_database()"); got != dbtest.SCRAMUser+"|"+dbtest.Database {
				t.Errorf("got %q", got)
			}
			conn := f.connect()
			ctx := withTimeout(t)
			var source [][]any
			for i := range 20_000 {
				source = append(source, []any{int32(i), strings.Repeat("x", i%100)})
			}
			tx, err := conn.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := conn.CopyFrom(ctx, pgx.Identifier{"rows"}, []string{"n", "text"}, pgx.CopyFromRows(source)); err != nil || n != 20_000 {
				t.Fatalf("COPY in: %d, %v", n, err)
			}
			var out bytes.Buffer
			if tag, err := conn.PgConn().CopyTo(ctx, &out, "copy (select * from rows order by n) to stdout"); err != nil || tag.RowsAffected() != 20_000 || bytes.Count(out.Bytes(), []byte("\n")) != 20_000 {
				t.Errorf("COPY out: %v, %v, %d bytes", tag, err, out.Len())
			}
			if err := tx.Rollback(ctx); err != nil {
				t.Fatal(err)
			}
			batch := &pgx.Batch{}
			for i := range 200 {
				batch.Queue("select $1::int + 1", i)
			}
			results := conn.SendBatch(ctx, batch)
			for i := range 200 {
				var n int
				if err := results.QueryRow().Scan(&n); err != nil || n != i+1 {
					t.Fatalf("pipelined query %d: %d, %v", i, n, err)
				}
			}
			if err := results.Close(); err != nil {
				t.Fatal(err)
			}
			const big = 20 << 20
			if n := one[int](t, conn, "select length($1)", strings.Repeat("y", big)); n != big {
				t.Errorf("a large parameter: %d", n)
			}
			if s := one[string](t, conn, "select repeat('z', 20971520)"); len(s) != big {
				t.Errorf("a large value: %d", len(s))
			}
			if _, err := conn.Exec(ctx, "selec 1"); dbtest.Code(err) != "42601" {
				t.Errorf("an error: %v", err)
			}
			if got := one[string](t, conn, "select $1::text || current_database()", "in "); got != "in "+dbtest.Database {
				t.Errorf("a parameter: %q", got)
			}
			if _, err := conn.CopyFrom(ctx, pgx.Identifier{"nothing"}, []string{"n"}, pgx.CopyFromRows(source)); dbtest.Code(err) != "42P01" {
				t.Errorf("COPY into nothing: %v", err)
			}
		})
	}
}

// TestPoolManyClients: many sessions have few connections to the server.
func TestPoolManyClients(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	const size, clients = 5, 200
	cfg := pooled("transaction", size)
	cfg.Limits.MaxWait = 30 * time.Second
	f := start(t, cfg, server.Addr())
	server.SQL("create table seen (pid int)")
	var wg sync.WaitGroup
	done, most := make(chan struct{}), make(chan int)
	go func() {
		worst := 0
		for {
			n, err := server.TrySQL(dbtest.Database, "select count(*) from pg_stat_activity where usename = 'u_scram'")
			if got, _ := strconv.Atoi(n); err == nil {
				worst = max(worst, got)
			}
			select {
			case <-done:
				most <- worst
				return
			default:
			}
		}
	}()
	for i := range clients {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
			defer cancel()
			conn, err := pgx.Connect(ctx, f.dsn())
			if err != nil {
				t.Errorf("connecting: %v", err)
				return
			}
			defer conn.Close(ctx)
			for n := range 20 {
				var got int
				if err := conn.QueryRow(ctx, fmt.Sprintf("select $1::int + %d", i%7), n).Scan(&got); err != nil || got != n+i%7 {
					t.Errorf("client %d: %d, %v", i, got, err)
					return
				}
				if _, err := conn.Exec(ctx, "insert into seen values (pg_backend_pid())"); err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(done)
	if got := server.SQL("select count(*) from seen"); got != "4000" {
		t.Errorf("%s rows", got)
	}
	if n := <-most; n > size {
		t.Errorf("%d sessions at the server", n)
	}
}

// TestPoolConnectsOneByOne: limits.maxConnecting is about connections that begin, not
// about those that a pool has.
func TestPoolConnectsOneByOne(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	for _, mode := range []string{"session", "transaction"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			cfg := pooled(mode, 8)
			cfg.Limits.MaxConnecting = 1
			f := start(t, cfg, server.Addr())
			for i := range 5 {
				if _, err := f.connect().Exec(withTimeout(t), "begin"); err != nil {
					t.Fatalf("session %d: %v", i+1, err)
				}
			}
		})
	}
}

// TestPoolLibpq: lib/pq prepares an unnamed statement in one transaction and uses
// it in the next.
func TestPoolLibpq(t *testing.T) {
	t.Parallel()
	f := start(t, pooled("transaction", 2), dbtest.StartPostgres(t).Addr())
	db, err := sql.Open("postgres", f.dsn())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(8)
	st, err := db.Prepare("select $1::int * 2")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 50 {
				var got int
				if err := st.QueryRow(i).Scan(&got); err != nil || got != 2*i {
					t.Errorf("a prepared statement: %d, %v", got, err)
				}
				if err := db.QueryRow(fmt.Sprintf("select $1::int + %d", i), i).Scan(&got); err != nil || got != 2*i {
					t.Errorf("an unnamed statement: %d, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}
