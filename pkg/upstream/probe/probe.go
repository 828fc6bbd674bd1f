// Package probe speaks to one endpoint in a blocking way, beside the data path:
// it asks whether the endpoint is well and what it knows of the others.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// ErrTooLong is a reply of more bytes than its target allows.
var ErrTooLong = errors.New("reply is too long")

// DefaultMaxReply bounds what a probe takes into memory. The longest reply asked
// for, CLUSTER SLOTS of 1,000 nodes with fragmented slots, stays far below.
const DefaultMaxReply = 16 << 20

// ReplyError is an error that a Redis server answered with, such as
// "LOADING Redis is loading the dataset in memory".
type ReplyError struct {
	Text string
}

// Error implements error.
func (e *ReplyError) Error() string { return "server says: " + e.Text }

// Code is the first word, such as LOADING.
func (e *ReplyError) Code() string {
	code, _, _ := strings.Cut(e.Text, " ")
	return code
}

// IsReply reports whether err is an answer, after which the connection is good.
func IsReply(err error) bool {
	var reply *ReplyError
	return errors.As(err, &reply)
}

// HasCode reports whether err is a ReplyError with one of the codes.
func HasCode(err error, codes ...string) bool {
	var reply *ReplyError
	if !errors.As(err, &reply) {
		return false
	}
	for _, c := range codes {
		if reply.Code() == c {
			return true
		}
	}
	return false
}

// Target is an endpoint and how to log in there.
type Target struct {
	Network     string // tcp or unix
	Address     string
	TLS         *tls.Config                               // nil: plain
	Credentials func() (user, password string, err error) // nil: no AUTH
	MaxReply    int                                       // bytes of a reply; 0: DefaultMaxReply
}

// Conn is a connection to a Redis server. It is for one goroutine.
type Conn struct {
	target Target
	nc     net.Conn
	most   int    // bytes of a reply
	buf    []byte // received and not yet parsed
	heard  bool   // a reply
}

// Connect makes a connection, with TLS if the target has it, and says nothing
// on it. The context bounds it.
func Connect(ctx context.Context, t Target) (net.Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, t.Network, t.Address)
	if err != nil {
		return nil, err
	}
	if t.TLS == nil {
		return nc, nil
	}
	tc := tls.Client(nc, t.TLS)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("TLS handshake with %s: %w", t.Address, handshakeError(err))
	}
	return tc, nil
}

// Dial connects and logs in. The context bounds both.
func Dial(ctx context.Context, t Target) (*Conn, error) {
	nc, err := Connect(ctx, t)
	if err != nil {
		return nil, err
	}
	c := &Conn{target: t, nc: nc, most: t.MaxReply}
	if c.most <= 0 {
		c.most = DefaultMaxReply
	}
	if err := c.login(ctx, t.Credentials); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Conn) login(ctx context.Context, credentials func() (string, string, error)) error {
	if credentials == nil {
		return nil
	}
	user, password, err := credentials()
	if err != nil {
		return fmt.Errorf("reading credentials: %w", err)
	}
	switch {
	case password == "" && user == "":
		return nil
	case user == "":
		_, err = c.Do(ctx, "AUTH", password)
	default:
		_, err = c.Do(ctx, "AUTH", user, password)
	}
	if err != nil {
		return fmt.Errorf("AUTH: %w", err)
	}
	return nil
}

// Close closes the connection.
func (c *Conn) Close() { _ = c.nc.Close() }

// Do sends a command and returns its reply. An error reply is a *ReplyError,
// after which the connection is still good; after any other error it is not.
func (c *Conn) Do(ctx context.Context, args ...string) (redisproto.Value, error) {
	stop, err := c.bound(ctx)
	if err != nil {
		return redisproto.Value{}, err
	}
	defer stop()
	if _, err := c.nc.Write(redisproto.AppendCommand(nil, args...)); err != nil {
		return redisproto.Value{}, err
	}
	v, err := c.read()
	if err != nil && !c.heard {
		err = Explain(ctx, c.target, err)
	}
	return v, err
}

// DoAll sends commands together and returns their replies in the same order. Those
// that are errors are left to ErrorOf; after an error of its own the connection is
// not good any more.
func (c *Conn) DoAll(ctx context.Context, commands ...[]string) ([]redisproto.Value, error) {
	stop, err := c.bound(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	var out []byte
	for _, args := range commands {
		out = redisproto.AppendCommand(out, args...)
	}
	if _, err := c.nc.Write(out); err != nil {
		return nil, err
	}
	replies := make([]redisproto.Value, len(commands))
	for i := range replies {
		if replies[i], err = c.read(); err != nil && !IsReply(err) {
			return nil, err
		}
	}
	return replies, nil
}

// Receive waits for the next message, at most as long as the context allows.
func (c *Conn) Receive(ctx context.Context) (redisproto.Value, error) {
	stop, err := c.bound(ctx)
	if err != nil {
		return redisproto.Value{}, err
	}
	defer stop()
	return c.read()
}

// bound lets reads and writes end with the context: at its deadline, or at once
// when it is cancelled. After stop the context means nothing to the connection.
func (c *Conn) bound(ctx context.Context) (stop func(), err error) {
	deadline, _ := ctx.Deadline()
	if err := c.nc.SetDeadline(deadline); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = c.nc.SetDeadline(time.Unix(1, 0))
	})
	return func() {
		if !cancel() {
			<-done // the deadline must not be the next command's
		}
	}, nil
}

// read returns one reply, which owns its bytes.
func (c *Conn) read() (redisproto.Value, error) {
	lim := redisproto.DefaultLimits()
	for {
		if len(c.buf) > 0 {
			v, n, err := redisproto.ParseValue(c.buf, &lim)
			switch {
			case err == nil:
				// What follows moves to a buffer of its own: v aliases this one.
				c.buf = append([]byte(nil), c.buf[n:]...)
				c.heard = true
				return v, ErrorOf(&v)
			case !errors.Is(err, redisproto.ErrIncomplete):
				return v, err
			case len(c.buf) > c.most:
				return v, ErrTooLong
			}
		}
		if err := c.fill(); err != nil {
			return redisproto.Value{}, err
		}
	}
}

func (c *Conn) fill() error {
	const room = 4 << 10
	if cap(c.buf)-len(c.buf) < room {
		grown := make([]byte, len(c.buf), 2*cap(c.buf)+room)
		copy(grown, c.buf)
		c.buf = grown
	}
	n, err := c.nc.Read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// ErrorOf is the *ReplyError that a reply is; nil: it is none.
func ErrorOf(v *redisproto.Value) error {
	if !v.IsError() {
		return nil
	}
	return &ReplyError{Text: string(v.Text())}
}
