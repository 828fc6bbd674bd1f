package workqueue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
)

// redisTimeout bounds a command, unless its context does so sooner.
const redisTimeout = 10 * time.Second

// maxReply bounds an answer, in bytes: an item, with room for its other fields.
const maxReply = 2 * MaxItem

// redisClient asks one command after the other, and connects when it has to.
type redisClient struct {
	target probe.Target // read-only after construction

	mu   sync.Mutex
	conn *probe.Conn // nil: none; guarded by mu
}

func newRedisClient(address, username, password string) *redisClient {
	c := &redisClient{target: probe.Target{Network: "tcp", Address: address, MaxReply: maxReply}}
	if strings.HasPrefix(address, "/") {
		c.target.Network = "unix"
	}
	if password != "" {
		c.target.Credentials = func() (string, string, error) { return username, password, nil }
	}
	return c
}

func (c *redisClient) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeLocked()
}

func (c *redisClient) closeLocked() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// do asks a command. What the server says no with is a *probe.ReplyError. After any
// other error it is not known whether the command was done.
func (c *redisClient) do(ctx context.Context, args ...string) (*redisproto.Value, error) {
	replies, err := c.ask(ctx, args)
	if err != nil {
		return &redisproto.Value{}, err
	}
	return &replies[0], probe.ErrorOf(&replies[0])
}

// transaction has commands done together or not at all.
func (c *redisClient) transaction(ctx context.Context, commands ...[]string) error {
	all := append([][]string{{"MULTI"}}, commands...)
	replies, err := c.ask(ctx, append(all, []string{"EXEC"})...)
	if err != nil {
		return err
	}
	replies = append(replies, replies[len(replies)-1].Elems...)
	for i := range replies {
		if err := probe.ErrorOf(&replies[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *redisClient) ask(ctx context.Context, commands ...[]string) ([]redisproto.Value, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	replies, err := c.exchangeLocked(ctx, commands)
	if errors.Is(err, probe.ErrTooLong) {
		err = fmt.Errorf("%w: %w", errTooLarge, err)
	}
	if err != nil {
		c.closeLocked()
		return nil, fmt.Errorf("asking Redis at %s: %w", c.target.Address, err)
	}
	return replies, nil
}

func (c *redisClient) exchangeLocked(ctx context.Context, commands [][]string) ([]redisproto.Value, error) {
	if c.conn == nil {
		var err error
		if c.conn, err = probe.Dial(ctx, c.target); err != nil {
			return nil, err
		}
	}
	return c.conn.DoAll(ctx, commands...)
}

// at gives an element of an element; an empty one where there is none.
func at(v *redisproto.Value, path ...int) *redisproto.Value {
	for _, i := range path {
		if i >= len(v.Elems) {
			return &redisproto.Value{Null: true}
		}
		v = &v.Elems[i]
	}
	return v
}

// text is what an element of an element says.
func text(v *redisproto.Value, path ...int) string { return string(at(v, path...).Str) }
