package database

import "time"

const (
	// SlowText is how much of a query is kept for the log, in bytes.
	SlowText = 1 << 10
	// MaxStatements bounds how many prepared statements of a session are known.
	MaxStatements = 64
)

// QueryWatch knows what a session asks for, so that it can be logged if it takes
// long, and have spans: the text without literals, and no parameters.
type QueryWatch struct {
	Spans   *Spans // nil: none
	Current string // the latest query; "" if nobody needs it
	logs    bool
}

// Watch returns what looks at the queries of a session in a database; false if the
// configuration does not ask for it.
func (f *Filter) Watch(namespace string) (QueryWatch, bool) {
	if f.Conf.Login.Database != "" {
		namespace = f.Conf.Login.Database
	}
	q := QueryWatch{logs: f.Conf.SlowQuery >= 0, Spans: f.Tracing.Session(namespace)}
	return q, q.logs || q.Spans != nil
}

// Reach is how much of a query is looked at, bytes.
func (q *QueryWatch) Reach() int {
	if q.Spans != nil {
		return TraceText
	}
	return SlowText
}

// Needs reports whether a query's text is of use, also if it has no span.
func (q *QueryWatch) Needs(sampled bool) bool { return q.logs || sampled }

// done logs a query that took long.
func (q *QueryWatch) done(s *Session, took int64) {
	limit := s.Part.Conf.SlowQuery
	if !q.logs || limit < 0 || time.Duration(took) < limit {
		return
	}
	s.Part.Stats.SlowQueries.Add(1)
	s.Part.Log.Info("slow query", "duration", time.Duration(took), "query", q.Current, "endpoint", s.To.Endpoint.Address)
}

// Prepared is what is known of a prepared statement.
type Prepared struct {
	Text   string // without literals
	Sample Sample // for the first time that it is executed
	used   bool
}

// Execute decides whether an execution gets a span. The parent that the text names
// is that of the first.
func (q *QueryWatch) Execute(p *Prepared) Sample {
	if p.used {
		return q.Spans.Again()
	}
	p.used = true
	return p.Sample
}
