package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// footprint is a contender's resident memory in bytes.
type footprint struct {
	Contender string `json:"contender"`
	Idle      int64  `json:"idle"` // after one session that has ended
	Sessions  int    `json:"sessions"`
	With      int64  `json:"with"` // those sessions, which have asked once each
}

// perSession is what an idle session costs, bytes.
func (f footprint) perSession() float64 { return float64(f.With-f.Idle) / float64(max(1, f.Sessions)) }

// measureMemory looks at a fresh instance.
func measureMemory(ctx context.Context, tb *testbed, name string, sessions int) (footprint, error) {
	f := footprint{Contender: name, Sessions: sessions}
	c, err := tb.launch(ctx, name, postgres)
	if err != nil {
		return f, err
	}
	defer c.proc.Stop()
	idle, err := open(ctx, c, 1)
	leave(ctx, idle)
	if err != nil {
		return f, err
	}
	if f.Idle, err = gauge.Settled(ctx, c.proc.PID()); err != nil {
		return f, err
	}
	idle, err = open(ctx, c, sessions)
	defer leave(ctx, idle)
	if err != nil {
		return f, err
	}
	f.With, err = gauge.Settled(ctx, c.proc.PID())
	return f, err
}

// open begins sessions that each ask once and then keep still.
func open(ctx context.Context, c *contender, n int) ([]*pgconn.PgConn, error) {
	var all []*pgconn.PgConn
	for i := range n {
		conn, err := c.connect(ctx)
		if err != nil {
			return all, fmt.Errorf("%s: session %d: %w", c.name, i, err)
		}
		all = append(all, conn)
		if _, err := conn.Exec(ctx, "select 1").ReadAll(); err != nil {
			return all, fmt.Errorf("%s: session %d: %w", c.name, i, err)
		}
	}
	return all, nil
}

func leave(ctx context.Context, all []*pgconn.PgConn) {
	for _, conn := range all {
		_ = conn.Close(ctx)
	}
}
