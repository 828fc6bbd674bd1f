// Package redis makes metrics of a Redis server's INFO, under the names that
// redis_exporter gives them.
package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// ErrReply is an answer that is no answer to the question.
var ErrReply = errors.New("the answer to INFO is no text")

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

// ask connects, logs in and asks for INFO. Where the server says no, the error is a
// [probe.ReplyError].
func (s *Source) ask(ctx context.Context) (string, error) {
	t := probe.Target{Network: "tcp", Address: s.cfg.Address}
	if strings.HasPrefix(t.Address, "/") || strings.HasPrefix(t.Address, "@") {
		t.Network = "unix"
	}
	if s.cfg.TLS != nil {
		cfg, err := fetch.TLSConfig(s.cfg.TLS, s.cfg.Address)
		if err != nil {
			return "", err
		}
		t.TLS = cfg
	}
	password, err := s.password()
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	if password != "" {
		t.Credentials = func() (string, string, error) { return s.cfg.Auth.Username, password, nil }
	}
	conn, err := probe.Dial(ctx, t)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	info, err := conn.Do(ctx, "INFO", "all")
	switch {
	case err != nil:
		return "", fmt.Errorf("asking for INFO: %w", err)
	case info.Kind != '$' && info.Kind != '=' && info.Kind != '+' || info.Null:
		return "", ErrReply
	}
	return string(info.Text()), nil
}
