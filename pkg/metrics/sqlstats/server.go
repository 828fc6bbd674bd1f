// Package sqlstats is what the sources have in common that ask a database for its
// statistics: a session that is kept from one scrape to the next, and questions
// whose columns are metrics.
package sqlstats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/sqlprobe"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// application is what a server shows of the session.
const application = "dragoman metrics"

// nobody is the user where none is named: an Ambassador logs in as another anyway,
// and PostgreSQL wants a name.
const nobody = "dragoman"

// Server is a database. It is for one goroutine.
type Server struct {
	families.Ledger

	cfg      *resource.ServerSource
	protocol sqlprobe.Protocol
	password fetch.Secret
	session  *sqlprobe.Session // nil: none
	denied   map[string]bool   // questions that the user may not ask in this session
}

// NewServer makes one. It does not connect.
func NewServer(cfg *resource.ServerSource, protocol sqlprobe.Protocol, env metrics.Env) *Server {
	return &Server{cfg: cfg, protocol: protocol, password: fetch.SecretOf(env, cfg.Auth.Password)}
}

// Close ends the session.
func (s *Server) Close() error {
	if s.session != nil {
		s.session.Close()
		s.session = nil
	}
	return nil
}

// Scrape calls ask with the scrape's time. A session that was kept may have ended
// meanwhile, which says nothing of the server: first is asked to find out.
func (s *Server) Scrape(ctx context.Context, first string, ask func(ctx context.Context, answer *sqlprobe.Rows) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if s.session != nil {
		if answer, err := s.session.Query(ctx, first); err == nil {
			return ask(ctx, answer)
		}
		_ = s.Close() // it only ends the session
	}
	if err := s.open(ctx); err != nil {
		return timely(ctx, err)
	}
	answer, err := s.Query(ctx, first)
	if err != nil {
		return err
	}
	return ask(ctx, answer)
}

func (s *Server) open(ctx context.Context) error {
	t := &sqlprobe.Target{
		Protocol: s.protocol, Network: "tcp", Address: s.cfg.Address, Database: s.cfg.Database, Application: application,
		Login: func() (user, password string, err error) {
			password, err = s.password()
			return cmp.Or(s.cfg.Auth.Username, nobody), password, err
		},
	}
	if strings.HasPrefix(t.Address, "/") || strings.HasPrefix(t.Address, "@") {
		t.Network = "unix"
	}
	if s.cfg.TLS != nil {
		cfg, err := fetch.TLSConfig(s.cfg.TLS, s.cfg.Address)
		if err != nil {
			return err
		}
		t.TLS, t.StartTLS = cfg, true
	}
	session, err := sqlprobe.Open(ctx, t)
	s.session, s.denied = session, make(map[string]bool)
	return err
}

// Query asks one statement. After an error that is not the server's answer the
// session is over.
func (s *Server) Query(ctx context.Context, sql string) (*sqlprobe.Rows, error) {
	if s.session == nil {
		return nil, errors.New("the session has ended")
	}
	rows, err := s.session.Query(ctx, sql)
	if _, answered := errors.AsType[*sqlprobe.AnswerError](err); err != nil && !answered {
		_ = s.Close() // it only ends the session
		return nil, timely(ctx, err)
	}
	return rows, err
}

func timely(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no whole answer in time: %w", context.DeadlineExceeded)
	}
	return err
}

// Question is a statement whose first columns are labels and whose others are
// values.
type Question struct {
	SQL     string
	Labels  []string // of the first columns
	Metrics []Metric // of the others, in their order
	// Optional is not asked again in a session whose user may not ask it, and is
	// no error then.
	Optional bool
}

// Metric is a column.
type Metric struct {
	Name, Help string
	Counter    bool
}

// Ask adds the series of the answers to all questions. One that the server refuses
// costs no other.
func (s *Server) Ask(ctx context.Context, b *families.Builder, questions []Question) error {
	var errs []error
	for i := range questions {
		q := &questions[i]
		if s.denied[q.SQL] {
			continue
		}
		rows, err := s.Query(ctx, q.SQL)
		if e, ok := errors.AsType[*sqlprobe.AnswerError](err); ok && e.Denied && q.Optional {
			s.denied[q.SQL] = true
			continue
		}
		if err != nil {
			errs = append(errs, err)
			if s.session == nil {
				break
			}
			s.Add("unreadable", 1)
			continue
		}
		q.series(b, rows)
	}
	return errors.Join(errs...)
}

func (q *Question) series(b *families.Builder, rows *sqlprobe.Rows) {
	for _, row := range rows.Rows {
		if len(row) < len(q.Labels)+len(q.Metrics) {
			continue
		}
		var labels []string
		for i, name := range q.Labels {
			labels = append(labels, name, strings.ToValidUTF8(row[i], "\uFFFD"))
		}
		for i, m := range q.Metrics {
			v, ok := Number(row[len(q.Labels)+i])
			switch {
			case !ok: // NULL
			case m.Counter:
				b.Counter(m.Name, m.Help, v, labels...)
			default:
				b.Gauge(m.Name, m.Help, v, labels...)
			}
		}
	}
}

// Number reads what databases write for a number or a truth.
func Number(text string) (float64, bool) {
	switch strings.ToLower(text) {
	case "t", "true", "on", "yes", "enabled":
		return 1, true
	case "f", "false", "off", "no", "disabled":
		return 0, true
	}
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil
}
