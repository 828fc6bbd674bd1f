package sqlprobe

import (
	"context"
	"errors"
	"fmt"

	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// Limits of the answer to a question of a [Session].
const (
	maxRows  = 20_000
	maxBytes = 8 << 20
)

// Session is a connection for questions of the caller's own. It is for one
// goroutine.
type Session struct{ conn }

// Open connects and logs in.
func Open(ctx context.Context, t *Target) (*Session, error) {
	user, password, err := t.Login()
	if err != nil {
		return nil, err
	}
	c, err := connect(ctx, t, user, password)
	if err != nil {
		return nil, err
	}
	return &Session{conn: c}, nil
}

// Close ends the session.
func (s *Session) Close() { s.close() }

// Rows is the answer to a question. NULL is an empty text.
type Rows struct {
	Columns []string
	Rows    [][]string
	bytes   int
}

// Get gives the value of a column of a row, by name; "" if there is none.
func (r *Rows) Get(row int, column string) string {
	for i, name := range r.Columns {
		if name == column && i < len(r.Rows[row]) {
			return r.Rows[row][i]
		}
	}
	return ""
}

func (r *Rows) add(row []string) error {
	for _, v := range row {
		r.bytes += len(v)
	}
	if len(r.Rows) >= maxRows || r.bytes > maxBytes {
		return fmt.Errorf("an answer of more than %d rows or %d bytes", maxRows, maxBytes)
	}
	r.Rows = append(r.Rows, row)
	return nil
}

// AnswerError is an error that the server answered with, after which the session
// can be used.
type AnswerError struct {
	Err error
	// Denied says that the user may not ask this.
	Denied bool
}

func (e *AnswerError) Error() string { return e.Err.Error() }

// Unwrap gives the server's error.
func (e *AnswerError) Unwrap() error { return e.Err }

// Query asks one statement. After any error but an [AnswerError] the session can
// not be used.
func (s *Session) Query(ctx context.Context, sql string) (*Rows, error) {
	r := &Rows{}
	var err error
	switch c := s.conn.(type) {
	case *pgConn:
		err = within(ctx, c.wire, func() error {
			return c.each(sql, func(names []string) { r.Columns = names }, r.add)
		})
		if e, ok := errors.AsType[*pgError](err); ok && !e.Fatal() {
			err = &AnswerError{Err: err, Denied: e.State == "42501"}
		}
	case *myConn:
		err = within(ctx, c.wire, func() error {
			return c.each(sql, func(name string) { r.Columns = append(r.Columns, name) }, r.add)
		})
		if e, ok := errors.AsType[*mysqlproto.ServerError](err); ok {
			err = &AnswerError{Err: err, Denied: e.Errno == errnoSpecificAccess || e.Errno == errnoAccess || e.Errno == errnoTableAccess}
		}
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// What MySQL answers to who may not ask.
const (
	errnoAccess         = 1044
	errnoTableAccess    = 1142
	errnoSpecificAccess = 1227
)

func within(ctx context.Context, w *wire, ask func() error) error {
	stop, err := w.bound(ctx)
	if err != nil {
		return err
	}
	defer stop()
	return ask()
}
