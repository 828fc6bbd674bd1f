package main

import (
	"context"
	"fmt"
	"time"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// footprint is a contender's memory in bytes: resident, but for Before and With,
// which are its own, so that pages of the program's file that are read for the
// first time are not taken for the clients'.
type footprint struct {
	Contender   string `json:"contender"`
	Idle        int64  `json:"idle"`
	IdleClients int    `json:"idleClients"`
	Before      int64  `json:"before"`
	With        int64  `json:"with"`
	AfterLoad   int64  `json:"afterLoad"`
}

// perClient is what an idle client costs, bytes.
func (f footprint) perClient() float64 {
	return float64(f.With-f.Before) / float64(max(1, f.IdleClients))
}

// measureMemory looks at one fresh instance for idle clients and at another
// for the load, so that neither sees what the other left behind.
func measureMemory(ctx context.Context, tb *testbed, name string, clients int, d time.Duration) (footprint, error) {
	f := footprint{Contender: name, IdleClients: clients}
	c, err := launch(ctx, tb, name)
	if err != nil {
		return f, err
	}
	if !c.sharded {
		// One connection upstream for each client: Redis has room for fewer.
		f.IdleClients = min(clients, 4000)
	}
	if err := f.measureIdle(ctx, c); err != nil {
		return f, fmt.Errorf("idle clients of %s: %w", name, err)
	}
	c.proc.Stop()

	if c, err = launch(ctx, tb, name); err != nil {
		return f, err
	}
	defer c.proc.Stop()
	load := shape{command: "GET", clients: 500, pipeline: 16, size: small}
	if err := fill(ctx, c, tb.shards, load.keys(), load.size); err != nil {
		return f, err
	}
	requests, err := calibrate(ctx, c, load, 4*d)
	if err != nil {
		return f, err
	}
	if _, err := measure(ctx, c, load, requests); err != nil {
		return f, err
	}
	f.AfterLoad, err = gauge.Settled(ctx, c.proc.PID(), gauge.RSS)
	return f, err
}

// measureIdle connects clients that each ask once and then keep still.
func (f *footprint) measureIdle(ctx context.Context, c *contender) error {
	var err error
	if f.Idle, err = gauge.Settled(ctx, c.proc.PID(), gauge.RSS); err != nil {
		return err
	}
	if f.Before, err = gauge.Settled(ctx, c.proc.PID(), gauge.OwnMemory); err != nil {
		return err
	}
	var idle []*client
	defer func() {
		for _, cl := range idle {
			cl.close()
		}
	}()
	for i := range f.IdleClients {
		cl, err := dial(ctx, c.port)
		if err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
		idle = append(idle, cl)
		if _, err := cl.do("EXISTS", keyName(i)); err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
	}
	f.With, err = gauge.Settled(ctx, c.proc.PID(), gauge.OwnMemory)
	return err
}
