package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// errReply says that a contender answered something else than expected.
var errReply = errors.New("unexpected reply")

// client is a minimal Redis client, for filling, checking and idling; the load
// itself comes from redis-benchmark.
type client struct {
	conn net.Conn
	in   *bufio.Reader
}

func dial(ctx context.Context, port int) (*client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, err
	}
	return newClient(conn), nil
}

func newClient(conn net.Conn) *client {
	return &client{conn: conn, in: bufio.NewReaderSize(conn, 512)}
}

func (c *client) close() { _ = c.conn.Close() }

// reply reads a simple string, an integer or a bulk, and returns its text.
func (c *client) reply() (string, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = line[:max(0, len(line)-2)]
	switch {
	case line == "" || line == "$-1":
		return "", fmt.Errorf("%w: %q", errReply, line)
	case line[0] == '+' || line[0] == ':':
		return line[1:], nil
	case line[0] != '$':
		return "", fmt.Errorf("%w: %q", errReply, line)
	}
	n, err := strconv.Atoi(line[1:])
	if err != nil || n < 0 {
		return "", fmt.Errorf("%w: %q", errReply, line)
	}
	bulk := make([]byte, n+2)
	if _, err := io.ReadFull(c.in, bulk); err != nil {
		return "", err
	}
	return string(bulk[:n]), nil
}

// do sends one command and reads its reply.
func (c *client) do(args ...string) (string, error) {
	var req []byte
	for i, a := range args {
		if i == 0 {
			req = fmt.Appendf(req, "*%d\r\n", len(args))
		}
		req = fmt.Appendf(req, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := c.conn.Write(req); err != nil {
		return "", err
	}
	return c.reply()
}

// ping asks for the value of a key: a command that every contender knows (an
// older nutcracker knows no PING), on a port that may not be open yet.
func ping(ctx context.Context, port int) error {
	c, err := dial(ctx, port)
	if err != nil {
		return err
	}
	defer c.close()
	_, err = c.do("EXISTS", "bench:ready")
	return err
}

// keyName is the key that redis-benchmark makes of key:__rand_int__.
func keyName(i int) string { return fmt.Sprintf("key:%012d", i) }

// fill sets keys 0..keys-1 to values of size bytes, then reads some of them
// back and makes sure that they came to the shards that they should come to.
func fill(ctx context.Context, c *contender, shards []int, keys, size int) error {
	cl, err := dial(ctx, c.port)
	if err != nil {
		return err
	}
	defer cl.close()
	value := bytes.Repeat([]byte("x"), size)
	for i := 0; i < keys; i += 50 {
		n := min(50, keys-i)
		var req []byte
		for j := range n {
			req = fmt.Appendf(req, "*3\r\n$3\r\nSET\r\n$16\r\n%s\r\n$%d\r\n%s\r\n", keyName(i+j), size, value)
		}
		if _, err := cl.conn.Write(req); err != nil {
			return fmt.Errorf("filling %s: %w", c.name, err)
		}
		for range n {
			if _, err := cl.reply(); err != nil {
				return fmt.Errorf("filling %s: %w", c.name, err)
			}
		}
	}
	return check(ctx, c, cl, shards, keys, size)
}

func check(ctx context.Context, c *contender, cl *client, shards []int, keys, size int) error {
	for i := 0; i < keys; i += max(1, keys/20) {
		got, err := cl.do("GET", keyName(i))
		if err != nil {
			return fmt.Errorf("checking %s: %w", c.name, err)
		}
		if len(got) != size {
			return fmt.Errorf("checking %s: %w: %d bytes, want %d", c.name, errReply, len(got), size)
		}
	}
	if !c.sharded {
		return nil
	}
	for _, port := range shards {
		if err := checkShard(ctx, port); err != nil {
			return fmt.Errorf("checking what %s distributed: %w", c.name, err)
		}
	}
	return nil
}

func checkShard(ctx context.Context, port int) error {
	cl, err := dial(ctx, port)
	if err != nil {
		return err
	}
	defer cl.close()
	got, err := cl.do("DBSIZE")
	if err != nil {
		return err
	}
	if got == "0" {
		return fmt.Errorf("%w: a shard has no keys", errReply)
	}
	return nil
}

// flush empties the shards, so that a fill shows who distributes what.
func flush(ctx context.Context, shards []int) error {
	for _, port := range shards {
		cl, err := dial(ctx, port)
		if err != nil {
			return err
		}
		_, err = cl.do("FLUSHALL")
		cl.close()
		if err != nil {
			return err
		}
	}
	return nil
}
