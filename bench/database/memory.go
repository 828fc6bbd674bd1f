package main

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// calm is how long after its start a contender is looked at: by then it has handed
// back what only the start needed.
const calm = 7 * time.Second

// footprint is a contender's memory in bytes.
type footprint struct {
	Contender string `json:"contender"`
	Idle      int64  `json:"idle"` // resident, after one session that has ended
	Sessions  int    `json:"sessions"`
	Before    int64  `json:"before"` // its own, without pages of files
	With      int64  `json:"with"`   // the same with those sessions, which have asked once each
}

// perSession is what an idle session costs, bytes.
func (f footprint) perSession() float64 {
	return float64(f.With-f.Before) / float64(max(1, f.Sessions))
}

// measureMemory looks at a fresh instance.
func measureMemory(ctx context.Context, tb *testbed, name string, s server, sessions int) (footprint, error) {
	f := footprint{Contender: name, Sessions: sessions}
	if s == mariadb {
		f.Contender += ", MariaDB"
	}
	c, err := tb.launch(ctx, name, s)
	if err != nil {
		return f, err
	}
	if c == nil {
		return f, fmt.Errorf("%s does not take sessions of this server", f.Contender)
	}
	defer c.proc.Stop()
	idle, err := open(ctx, c, s, 1)
	leave(idle)
	if err != nil {
		return f, err
	}
	select {
	case <-ctx.Done():
		return f, ctx.Err()
	case <-time.After(calm):
	}
	if f.Before, err = gauge.Settled(ctx, c.proc.PID(), gauge.OwnMemory); err != nil {
		return f, err
	}
	if f.Idle, err = gauge.RSS(c.proc.PID()); err != nil {
		return f, err
	}
	idle, err = open(ctx, c, s, sessions)
	defer leave(idle)
	if err != nil {
		return f, err
	}
	f.With, err = gauge.Settled(ctx, c.proc.PID(), gauge.OwnMemory)
	return f, err
}

// quiet is a session that keeps still; it is called to end it.
type quiet func()

// open begins sessions that each ask once and then keep still.
func open(ctx context.Context, c *contender, s server, n int) ([]quiet, error) {
	begin := beginPostgres
	if s == mariadb {
		begin = beginMariaDB
	}
	var all []quiet
	for i := range n {
		end, err := begin(ctx, c)
		if err != nil {
			return all, fmt.Errorf("%s: session %d: %w", c.name, i, err)
		}
		all = append(all, end)
	}
	return all, nil
}

func leave(all []quiet) {
	for _, end := range all {
		end()
	}
}

func beginPostgres(ctx context.Context, c *contender) (quiet, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "select 1").ReadAll(); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return func() { endPostgres(conn) }, nil
}

// endPostgres says goodbye, also when the run is being given up.
func endPostgres(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // its memory was looked at
}

func beginMariaDB(ctx context.Context, c *contender) (quiet, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName = dbtest.NativeUser, dbtest.Password, dbtest.Database
	cfg.Net, cfg.Addr = "tcp", c.address()
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := askMariaDB(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return func() { _ = conn.Close() }, nil
}

func askMariaDB(ctx context.Context, conn driver.Conn) error {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, "select 1", nil) // the driver's connections are
	if err != nil {
		return err
	}
	return rows.Close()
}
