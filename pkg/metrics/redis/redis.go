// Package redis makes metrics of a Redis server's INFO, under the names that
// redis_exporter gives them.
package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// maxInfo bounds INFO, in bytes.
const maxInfo = 4 << 20

// ErrReply is an answer that is no answer to the question.
var ErrReply = errors.New("the server does not speak Redis' protocol")

// ServerError is an error that the server answers with.
type ServerError struct{ Text string }

func (e *ServerError) Error() string { return "the server answers: " + e.Text }

// Source is a server.
type Source struct {
	families.Ledger

	cfg      *resource.RedisSource
	env      metrics.Env
	password fetch.Secret
}

// New makes a source. It does not connect.
func New(cfg *resource.RedisSource, env metrics.Env) (*Source, error) {
	return &Source{cfg: cfg, env: env, password: fetch.SecretOf(env, cfg.Auth.Password)}, nil
}

// Close implements metrics.Source.
func (*Source) Close() error { return nil }

// Gather implements metrics.Source: redis_up is 0 while the server is away.
func (s *Source) Gather(ctx context.Context) ([]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	b := &families.Builder{Limit: s.env.MaxSeries}
	info, err := s.ask(ctx)
	if err != nil {
		up(b, 0)
		out, _ := b.Done() // one series
		return out, err
	}
	up(b, 1)
	Info(b, info)
	out, err := b.Done()
	return out, s.Note(err)
}

func up(b *families.Builder, v float64) {
	b.Gauge("redis_up", "Information about the Redis instance", v)
}

// ask connects, logs in and asks for INFO.
func (s *Source) ask(ctx context.Context) (string, error) {
	conn, done, err := fetch.Dial(ctx, s.cfg.Address)
	if err != nil {
		return "", err
	}
	defer done()
	if s.cfg.TLS != nil {
		if conn, err = fetch.StartTLS(ctx, conn, s.cfg.TLS, s.cfg.Address); err != nil {
			return "", err
		}
	}
	password, err := s.password()
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	c := &client{in: bufio.NewReader(conn), out: conn}
	if password != "" {
		args := []string{"AUTH", password}
		if s.cfg.Auth.Username != "" {
			args = []string{"AUTH", s.cfg.Auth.Username, password}
		}
		if _, err := c.do(args...); err != nil {
			return "", fmt.Errorf("logging in: %w", err)
		}
	}
	info, err := c.do("INFO", "all")
	if err != nil {
		return "", fmt.Errorf("asking for INFO: %w", err)
	}
	return info, nil
}

// client asks one command after the other.
type client struct {
	in  *bufio.Reader
	out io.Writer
}

func (c *client) do(args ...string) (string, error) {
	if _, err := c.out.Write(redisproto.AppendCommand(nil, args...)); err != nil {
		return "", err
	}
	return c.reply()
}

// reply reads a text, a status or an error.
func (c *client) reply() (string, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			return "", ErrReply
		}
		return "", err
	}
	text := strings.TrimRight(string(line), "\r\n")
	if text == "" {
		return "", ErrReply
	}
	switch text[0] {
	case '+':
		return text[1:], nil
	case '-':
		return "", &ServerError{Text: text[1:]}
	case '$':
		n, err := strconv.Atoi(text[1:])
		if err != nil || n < 0 {
			return "", ErrReply
		}
		if n > maxInfo {
			return "", fmt.Errorf("an answer of more than %d bytes", maxInfo)
		}
		body := make([]byte, n+2)
		if _, err := io.ReadFull(c.in, body); err != nil {
			return "", err
		}
		return string(body[:n]), nil
	}
	return "", ErrReply
}
