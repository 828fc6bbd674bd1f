package kube

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// bench is pgbench, which ends when its sessions do, and is started again then.
type bench struct {
	t       *testing.T
	servers map[string]*dbtest.Postgres
	port    int
	script  string
	told    atomic.Int64
	ended   atomic.Int64 // sessions
}

func pgbenchLoad(t *testing.T, c *cluster, ns string) *bench {
	t.Helper()
	b := &bench{t: t, servers: map[string]*dbtest.Postgres{}, port: redistest.Port(t), script: filepath.Join(t.TempDir(), "script")}
	ports := map[string]int{}
	for _, environment := range []string{"dev", "prod"} {
		s := dbtest.StartPostgres(t, dbtest.PostgresSetting("listen_addresses", "*"))
		s.SQL("create table tx (id bigint, part int)")
		b.servers[environment], ports[environment] = s, s.Port()
	}
	environments, _ := lead(t, c, ns, "orders", ports)
	c.Apply(t, ns, database("orders", "postgres", b.port, environments))
	text := "\\set id random(1, 9000000000000000000)\nbegin;\ninsert into tx values (:id, 1);\ninsert into tx values (:id, 2);\ncommit;\n"
	if err := os.WriteFile(b.script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

var processed = regexp.MustCompile(`number of transactions actually processed: (\d+)`)

func (b *bench) run(ctx context.Context, wg *sync.WaitGroup, stop *atomic.Bool) {
	for _, mode := range []string{"simple", "prepared"} {
		wg.Go(func() {
			for !stop.Load() && ctx.Err() == nil {
				b.once(ctx, mode)
			}
		})
	}
}

// once runs pgbench until all its sessions have been ended, each in the first
// statement of a transaction: pgbench does not say what it is told then, but the
// proxy counts it. (The first line of the script is a command of pgbench's own.)
func (b *bench) once(ctx context.Context, mode string) {
	cmd := exec.CommandContext(ctx, b.servers["dev"].Program("pgbench"), "-n", "-M", mode, "-c", "3", "-T", "3600", "-f", b.script,
		"-h", "127.0.0.1", "-p", strconv.Itoa(b.port), "-U", "app", "placeholder")
	cmd.Env = append(os.Environ(), "PGSSLMODE=disable", "PGCONNECT_TIMEOUT=60")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	found := processed.FindSubmatch(out)
	if found == nil {
		b.t.Errorf("pgbench -M %s: %v\n%s%s", mode, err, out, errs.String())
		return
	}
	n, _ := strconv.ParseInt(string(found[1]), 10, 64)
	b.told.Add(n)
	for line := range strings.Lines(errs.String()) {
		if !strings.Contains(line, "aborted in command") {
			continue
		}
		b.ended.Add(1)
		if !strings.Contains(line, "aborted in command 1 ") {
			b.t.Errorf("pgbench -M %s: %s", mode, line)
		}
	}
}

func (b *bench) in(environment string) (whole, torn int, err error) {
	out, err := b.servers[environment].TrySQL(dbtest.Database, "select count(*), count(*) filter (where n <> 2) from (select count(*) as n from tx group by id) x")
	if err == nil {
		_, err = fmt.Sscanf(out, "%d|%d", &whole, &torn)
	}
	return whole, torn, err
}

func (b *bench) users(environment string) (n int, err error) {
	out, err := b.servers[environment].TrySQL(dbtest.Database, "select count(*) from pg_stat_activity where application_name = 'pgbench'")
	if err == nil {
		n, err = strconv.Atoi(out)
	}
	return n, err
}

func (b *bench) committed() int { return int(b.told.Load()) }

// store is an app with go-sql-driver/mysql.
type store struct {
	t       *testing.T
	servers map[string]*dbtest.MariaDB
	port    int
	told    atomic.Int64
}

func mariadbLoad(t *testing.T, c *cluster, ns string) *store {
	t.Helper()
	s := &store{t: t, servers: map[string]*dbtest.MariaDB{}, port: redistest.Port(t)}
	ports := map[string]int{}
	for _, environment := range []string{"dev", "prod"} {
		m := dbtest.StartMariaDB(t, dbtest.MariaDBSetting("bind-address", "*"))
		m.SQL("create table tx (worker int, n int, part int)")
		s.servers[environment], ports[environment] = m, m.Port()
	}
	environments, _ := lead(t, c, ns, "stock", ports)
	c.Apply(t, ns, database("stock", "mysql", s.port, environments))
	return s
}

func (s *store) run(ctx context.Context, wg *sync.WaitGroup, stop *atomic.Bool) {
	for worker := range 4 {
		wg.Go(func() {
			db, err := sql.Open("mysql", fmt.Sprintf("app:none@tcp(%s)/placeholder?timeout=60s", local(s.port)))
			if err != nil {
				s.t.Error(err)
				return
			}
			defer db.Close()
			for n := 0; !stop.Load() && ctx.Err() == nil; n++ {
				err := s.transaction(ctx, db, worker, n)
				if e, ok := errors.AsType[*mysql.MySQLError](err); ok && e.Number == 1053 {
					continue
				}
				if err != nil {
					s.t.Errorf("MariaDB: %v", err)
					return
				}
				s.told.Add(1)
			}
		})
	}
}

func (s *store) transaction(ctx context.Context, db *sql.DB, worker, n int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for part := range 2 {
		if _, err := tx.ExecContext(ctx, "insert into tx values (?, ?, ?)", worker, n, part); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (s *store) in(environment string) (whole, torn int, err error) {
	out, err := s.servers[environment].TrySQL(dbtest.Database, "select count(*), coalesce(sum(c <> 2), 0) from (select count(*) as c from tx group by worker, n) x")
	if err == nil {
		_, err = fmt.Sscan(out, &whole, &torn)
	}
	return whole, torn, err
}

func (s *store) users(environment string) (n int, err error) {
	out, err := s.servers[environment].TrySQL(dbtest.Database, "select count(*) from information_schema.processlist where user = '"+dbtest.NativeUser+"'")
	if err == nil {
		n, err = strconv.Atoi(out)
	}
	return n, err
}

func (s *store) committed() int { return int(s.told.Load()) }

// queue is an app of Redis, which notices nothing of a change.
type queue struct {
	t       *testing.T
	servers map[string]*redistest.Node
	port    int
	told    atomic.Int64
}

func redisLoad(t *testing.T, c *cluster, ns string) *queue {
	t.Helper()
	q := &queue{t: t, servers: map[string]*redistest.Node{}, port: redistest.Port(t)}
	environments, hosts := lead(t, c, ns, "cache", map[string]int{"dev": 6379, "prod": 6379})
	for i, environment := range []string{"dev", "prod"} {
		q.servers[environment] = worldAt(t, environment, hosts[environment])
		environments[i] += "}"
	}
	c.Apply(t, ns, ambassador("cache", q.port, environments...))
	return q
}

func (q *queue) run(ctx context.Context, wg *sync.WaitGroup, stop *atomic.Bool) {
	for worker := range 4 {
		client := redistest.Dial(q.t, local(q.port))
		wg.Go(func() {
			for n := 0; !stop.Load() && ctx.Err() == nil; n++ {
				id := fmt.Sprintf("%d-%d", worker, n)
				for _, command := range [][]string{{"MULTI"}, {"RPUSH", "tx", id}, {"RPUSH", "tx", id}, {"EXEC"}} {
					if got, err := client.TryDo(command...); err != nil || got[0] == '-' {
						q.t.Errorf("Redis: %q: %q, %v", command, got, err)
						return
					}
				}
				q.told.Add(1)
			}
		})
	}
}

func (q *queue) in(environment string) (whole, torn int, err error) {
	out := q.servers[environment].Do("LRANGE", "tx", "0", "-1")
	parts := map[string]int{}
	for field := range strings.FieldsSeq(out) {
		if strings.Contains(field, "-") {
			parts[field]++
		}
	}
	for _, n := range parts {
		if n != 2 {
			torn++
		}
	}
	return len(parts), torn, nil
}

func (q *queue) users(environment string) (int, error) {
	n, err := strconv.Atoi(q.servers[environment].Info("connected_clients"))
	return n - 1, err // that of this test
}

func (q *queue) committed() int { return int(q.told.Load()) }
