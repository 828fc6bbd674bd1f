package workqueue

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// redisTimeout bounds a command, unless its context does so sooner.
const redisTimeout = 10 * time.Second

// maxElements and maxDepth bound an answer that is a list.
const (
	maxElements = 1 << 20
	maxDepth    = 8
)

// errProtocol is an answer that is none.
var errProtocol = errors.New("the server does not speak Redis' protocol")

// serverError is what the server says no with.
type serverError string

func (e serverError) Error() string { return string(e) }

// redisClient asks one command after the other, and connects when it has to.
type redisClient struct {
	// Read-only after construction.
	address, username, password string

	mu   sync.Mutex // guards below
	conn net.Conn   // nil: none
	in   *bufio.Reader
}

// Close ends the connection.
func (c *redisClient) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil
	}
	err := c.conn.Close()
	c.conn = nil
	return err
}

// do asks a command. An error of the connection ends that; whether the command was
// done is not known then.
func (c *redisClient) do(ctx context.Context, args ...string) (*value, error) {
	replies, err := c.ask(ctx, args)
	if err != nil {
		return &value{}, err
	}
	return replies[0], replies[0].err()
}

// transaction has commands done together or not at all.
func (c *redisClient) transaction(ctx context.Context, commands ...[]string) error {
	all := append([][]string{{"MULTI"}}, commands...)
	replies, err := c.ask(ctx, append(all, []string{"EXEC"})...)
	if err != nil {
		return err
	}
	for _, r := range replies {
		if err := r.err(); err != nil {
			return err
		}
	}
	for _, r := range replies[len(replies)-1].list {
		if err := r.err(); err != nil {
			return err
		}
	}
	return nil
}

func (c *redisClient) ask(ctx context.Context, commands ...[]string) ([]*value, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	replies, err := c.exchange(ctx, commands)
	if err != nil {
		if c.conn != nil {
			_ = c.conn.Close() // the first error counts
			c.conn = nil
		}
		return nil, fmt.Errorf("asking Redis at %s: %w", c.address, err)
	}
	return replies, nil
}

func (c *redisClient) exchange(ctx context.Context, commands [][]string) ([]*value, error) {
	if c.conn == nil {
		if err := c.connect(ctx); err != nil {
			return nil, err
		}
	}
	return c.send(ctx, commands)
}

func (c *redisClient) connect(ctx context.Context) error {
	network := "tcp"
	if strings.HasPrefix(c.address, "/") {
		network = "unix"
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, c.address)
	if err != nil {
		return err
	}
	c.conn, c.in = conn, bufio.NewReader(conn)
	if c.password == "" {
		return nil
	}
	auth := []string{"AUTH", c.password}
	if c.username != "" {
		auth = []string{"AUTH", c.username, c.password}
	}
	replies, err := c.send(ctx, [][]string{auth})
	if err != nil {
		return err
	}
	if err := replies[0].err(); err != nil {
		return fmt.Errorf("logging in: %w", err)
	}
	return nil
}

func (c *redisClient) send(ctx context.Context, commands [][]string) ([]*value, error) {
	deadline, _ := ctx.Deadline()
	if err := c.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	var out []byte
	for _, args := range commands {
		out = redisproto.AppendCommand(out, args...)
	}
	if _, err := c.conn.Write(out); err != nil {
		return nil, err
	}
	replies := make([]*value, len(commands))
	for i := range replies {
		v, err := readValue(c.in, maxDepth)
		if err != nil {
			return nil, err
		}
		replies[i] = v
	}
	return replies, nil
}

// value is an answer in RESP2.
type value struct {
	text   string
	number int64
	list   []value
	null   bool
	failed bool // text is the error
}

// at gives an element; an empty one where there is none.
func (v *value) at(i int) *value {
	if i < len(v.list) {
		return &v.list[i]
	}
	return &value{null: true}
}

func (v *value) err() error {
	if v.failed {
		return serverError(v.text)
	}
	return nil
}

func readValue(in *bufio.Reader, depth int) (*value, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			err = errProtocol
		}
		return nil, err
	}
	text := strings.TrimRight(string(line), "\r\n")
	if text == "" {
		return nil, errProtocol
	}
	kind, rest := text[0], text[1:]
	if kind == '+' || kind == '-' {
		return &value{text: rest, failed: kind == '-'}, nil
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	switch {
	case err != nil:
		return nil, errProtocol
	case kind == ':':
		return &value{number: n, text: rest}, nil
	case (kind == '$' || kind == '*') && n < 0:
		return &value{null: true}, nil
	case kind == '$':
		return readBulk(in, n)
	case kind == '*' && n <= maxElements && depth > 0:
		return readList(in, n, depth)
	}
	return nil, errProtocol
}

func readBulk(in *bufio.Reader, n int64) (*value, error) {
	if n > MaxItem {
		return nil, errTooLarge
	}
	body := make([]byte, n+2)
	if _, err := io.ReadFull(in, body); err != nil {
		return nil, err
	}
	return &value{text: string(body[:n])}, nil
}

func readList(in *bufio.Reader, n int64, depth int) (*value, error) {
	v := &value{}
	for range n {
		e, err := readValue(in, depth-1)
		if err != nil {
			return nil, err
		}
		v.list = append(v.list, *e)
	}
	return v, nil
}

// marshal gives a JSON object with sorted members.
func marshal(fields map[string]string) ([]byte, error) { return json.Marshal(fields) }
