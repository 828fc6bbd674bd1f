package client

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Client keeps one node's resources. Make it with New.
type Client struct {
	opts Options // read-only after construction

	mu sync.Mutex // guards below
}

// New checks the options. It starts nothing.
func New(o Options) (*Client, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Client{opts: o}, nil
}

// Run speaks to control planes until ctx is done, and returns when all that it
// started has ended. Call it once. No failure of a control plane ends it.
func (c *Client) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Status shows where everything stands.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Status{}
}

// Describe implements prometheus.Collector.
func (c *Client) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *Client) Collect(chan<- prometheus.Metric) {}
