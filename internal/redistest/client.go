package redistest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Client is a minimal RESP client that shows every byte of a reply. It is for one goroutine.
type Client struct {
	// Timeout bounds each read and each write; 10 s unless changed.
	Timeout time.Duration

	tb   TB
	conn net.Conn
	r    *bufio.Reader
}

// Dial connects to addr, "host:port" or the path of a unix socket, and closes the connection when the test ends. Nothing is sent.
func Dial(tb TB, addr string) *Client {
	tb.Helper()
	conn, err := dial(addr, nil)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return NewClient(tb, conn)
}

// DialTLS is Dial over TLS.
func DialTLS(tb TB, addr string, config *tls.Config) *Client {
	tb.Helper()
	conn, err := dial(addr, config)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return NewClient(tb, conn)
}

// NewClient makes a client of an open connection, which it closes when the test ends.
func NewClient(tb TB, conn net.Conn) *Client {
	c := &Client{Timeout: 10 * time.Second, tb: tb, conn: conn, r: newReader(conn)}
	tb.Cleanup(c.Close)
	return c
}

// dial connects by TCP, or by unix socket if addr is a path; over TLS if config is not nil.
func dial(addr string, config *tls.Config) (net.Conn, error) {
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	if config == nil {
		conn, err := dialer.Dial(network, addr)
		if err != nil {
			return nil, fmt.Errorf("dialling %s: %w", addr, err)
		}
		return conn, nil
	}
	conn, err := tls.DialWithDialer(dialer, network, addr, config)
	if err != nil {
		return nil, fmt.Errorf("dialling %s over TLS: %w", addr, err)
	}
	return conn, nil
}

// Conn is the connection beneath, for tests that count, delay or cut bytes.
func (c *Client) Conn() net.Conn { return c.conn }

// Close closes the connection; a second time it does nothing.
func (c *Client) Close() { _ = c.conn.Close() }

// Do sends one command as an array of bulks and returns the raw bytes of its reply.
func (c *Client) Do(args ...string) string {
	c.tb.Helper()
	reply, err := c.TryDo(args...)
	if err != nil {
		c.tb.Fatalf("%.80q: %v", args, err)
	}
	return reply
}

// TryDo is Do for goroutines that may not fail a test, and for connections that are expected to break.
func (c *Client) TryDo(args ...string) (string, error) {
	if err := c.TrySend(Command(args...)); err != nil {
		return "", err
	}
	return c.TryReadFrame()
}

// Send writes raw bytes as they are.
func (c *Client) Send(raw string) {
	c.tb.Helper()
	if err := c.TrySend(raw); err != nil {
		c.tb.Fatalf("%v", err)
	}
}

// TrySend is Send that returns its error.
func (c *Client) TrySend(raw string) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.Timeout)); err != nil {
		return fmt.Errorf("setting the write deadline: %w", err)
	}
	if _, err := c.conn.Write([]byte(raw)); err != nil {
		return fmt.Errorf("sending %d bytes: %w", len(raw), err)
	}
	return nil
}

// ReadFrame reads one whole reply and returns its raw bytes.
func (c *Client) ReadFrame() string {
	c.tb.Helper()
	frame, err := c.TryReadFrame()
	if err != nil {
		c.tb.Fatalf("%v", err)
	}
	return frame
}

// TryReadFrame is ReadFrame that returns its error, and with it the bytes that came before it.
func (c *Client) TryReadFrame() (string, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.Timeout)); err != nil {
		return "", fmt.Errorf("setting the read deadline: %w", err)
	}
	frame, err := readFrame(c.r)
	return string(frame), err
}

// CloseWrite half-closes the connection: the other side sees the end of what this side sends, and can still answer.
func (c *Client) CloseWrite() {
	c.tb.Helper()
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok {
		c.tb.Fatalf("a %T can't be half-closed", c.conn)
		return
	}
	if err := half.CloseWrite(); err != nil {
		c.tb.Fatalf("half-closing: %v", err)
	}
}

// Silent fails the test when anything arrives within d.
func (c *Client) Silent(d time.Duration) {
	c.tb.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		c.tb.Fatalf("setting the read deadline: %v", err)
	}
	_, err := c.r.Peek(1)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		got, _ := c.r.Peek(c.r.Buffered())
		c.tb.Fatalf("expected silence for %v, got %q, %v", d, got, err)
	}
}

// Command encodes a command as an array of bulks, the form that every client sends.
func Command(args ...string) string {
	b := append([]byte{'*'}, strconv.Itoa(len(args))...)
	b = append(b, '\r', '\n')
	for _, arg := range args {
		b = append(b, '$')
		b = strconv.AppendInt(b, int64(len(arg)), 10)
		b = append(b, '\r', '\n')
		b = append(b, arg...)
		b = append(b, '\r', '\n')
	}
	return string(b)
}

func newReader(conn net.Conn) *bufio.Reader { return bufio.NewReaderSize(conn, 16<<10) }
