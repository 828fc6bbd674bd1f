package sqlprobe

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// What a PostgreSQL server is asked. The first needs version 10; servers that
// only speak PostgreSQL's protocol may have nothing but the second. A primary's
// timeline is in the first eight digits of the name of the file that it writes
// to: pg_control_checkpoint() would tell it only after the next checkpoint.
const (
	askAll = "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only'), " +
		"CASE WHEN pg_catalog.pg_is_in_recovery() THEN '' ELSE pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) END, " +
		"CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END"
	askLittle = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')"
)

// applicationName tells those who look at a server's sessions whose this one is.
const applicationName = "dragoman health check"

// pgError is an error that a PostgreSQL server answered with.
type pgError struct{ pgproto.Notice }

// Error implements error.
func (e *pgError) Error() string { return "server says: " + e.State + " " + e.Message }

// pgConn is a session at a PostgreSQL server.
type pgConn struct {
	*wire
	little bool // the server does not know how to answer askAll
}

func (c *pgConn) close() {
	_ = c.write(pgproto.AppendTerminate(nil)) // within the deadline of the latest question
	_ = c.nc.Close()
}

// errOverTLS is a server that lets nobody in over TLS, as with nothing but hostnossl
// in pg_hba.conf.
var errOverTLS = errors.New("over TLS")

// dialPostgres logs in. Where TLS is optional plain text is tried, too, when the
// filter would.
func dialPostgres(ctx context.Context, t *Target, user, password string) (conn, error) {
	c, err := openPostgres(ctx, t, user, password)
	if t.TLS == nil || !t.StartTLS || !t.TLSOptional || !errors.Is(err, errOverTLS) && !errors.Is(err, errHandshake) {
		return c, err
	}
	plain := *t
	plain.TLS = nil
	c, inPlain := openPostgres(ctx, &plain, user, password)
	if inPlain != nil {
		return nil, fmt.Errorf("%w; before that, with TLS: %s", inPlain, err.Error())
	}
	return c, nil
}

func openPostgres(ctx context.Context, t *Target, user, password string) (conn, error) {
	w, err := dial(ctx, t)
	if err != nil {
		return nil, err
	}
	c := &pgConn{wire: w}
	stop, err := w.bound(ctx)
	if err == nil {
		defer stop()
		if err = c.upgrade(ctx, t); err == nil {
			err = c.login(t, user, password)
		}
	}
	if err != nil {
		_ = w.nc.Close()
		return nil, w.explain(ctx, err)
	}
	return c, nil
}

// upgrade asks for TLS, where that begins in mid-connection.
func (c *pgConn) upgrade(ctx context.Context, t *Target) error {
	if t.TLS == nil || !t.StartTLS {
		return nil
	}
	request, err := (&pgproto.Startup{Kind: pgproto.SSLRequest}).AppendTo(nil)
	if err != nil {
		return err
	}
	if err := c.write(request); err != nil {
		return err
	}
	if err := c.fill(); err != nil {
		return err
	}
	answer := c.buf[0]
	c.took(1)
	switch {
	case answer == 'S':
		return c.startTLS(ctx, t.TLS)
	case answer != 'N':
		return fmt.Errorf("%w: it answers the request for TLS with %q", ErrProtocol, answer)
	case !t.TLSOptional:
		return fmt.Errorf("%w: it does not offer TLS", ErrUntrusted)
	}
	return nil
}

func (c *pgConn) login(t *Target, user, password string) error {
	database := t.Database
	if database == "" {
		database = "postgres"
	}
	start := pgproto.Startup{Kind: pgproto.StartupMessage, Version: pgproto.Version30, Params: []pgproto.Param{
		{Name: "user", Value: user}, {Name: "database", Value: database}, {Name: "application_name", Value: cmp.Or(t.Application, applicationName)},
	}}
	out, err := start.AppendTo(nil)
	if err != nil {
		return err
	}
	if err := c.write(out); err != nil {
		return err
	}
	auth := pgproto.NewAuth(c.authConfig(t, user, password))
	for asked, admitted := false, false; ; {
		typ, payload, err := c.message()
		switch {
		case err != nil:
			return err
		case typ == pgproto.TypeErrorResponse:
			return c.refused(payload, asked)
		case typ == pgproto.TypeAuthentication && !admitted:
			asked = true
			out, done, err := auth.Step(nil, payload)
			if err != nil {
				return untrusted(err)
			}
			admitted = done
			if err := c.write(out); err != nil {
				return err
			}
		case typ == pgproto.TypeReadyForQuery && admitted:
			return nil
		}
	}
}

func (c *pgConn) authConfig(t *Target, user, password string) pgproto.AuthConfig {
	var random [18]byte
	_, _ = rand.Read(random[:]) // never fails
	conf := pgproto.AuthConfig{
		User: user, Password: password, Nonce: base64.StdEncoding.EncodeToString(random[:]),
		Allow: pgproto.MethodNone | pgproto.MethodMD5 | pgproto.MethodSCRAM | pgproto.MethodSCRAMPlus,
	}
	if state := c.state(); state != nil {
		if verified(t.TLS) {
			conf.Allow |= pgproto.MethodCleartext
		}
		if len(state.PeerCertificates) > 0 {
			conf.Binding = pgproto.EndpointBinding(state.PeerCertificates[0])
		}
	}
	if t.Allow != 0 {
		conf.Allow &= t.Allow
	}
	return conf
}

// untrusted sorts what the codec finds wrong with a server.
func untrusted(err error) error {
	if _, broken := errors.AsType[*pgproto.ProtocolError](err); broken {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return fmt.Errorf("%w: %w", ErrUntrusted, err)
}

// refused is the server's error during a login. Those that pass, as when it starts
// or has no room, are no refusal.
func (c *pgConn) refused(payload []byte, asked bool) error {
	err := serverError(payload)
	e, ok := errors.AsType[*pgError](err)
	switch {
	case !ok, strings.HasPrefix(e.State, "57P"), strings.HasPrefix(e.State, "53"):
		return err
	case !asked && e.State == pgproto.StateInvalidAuth && c.state() != nil:
		return fmt.Errorf("%w %w: %w", ErrRefused, errOverTLS, err)
	}
	return fmt.Errorf("%w: %w", ErrRefused, err)
}

func serverError(payload []byte) error {
	n, err := pgproto.ParseNotice(payload)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return &pgError{n}
}

// message waits for the next message that is not one that a server may send at
// any time. Its payload lives until the next call.
func (c *pgConn) message() (typ byte, payload []byte, err error) {
	lim := pgproto.Limits{MaxStartup: maxMessage, MaxMessage: maxMessage}
	for {
		typ, payload, n, err := pgproto.ParseMessage(c.buf, &lim)
		switch {
		case errors.Is(err, pgproto.ErrIncomplete):
			if err := c.fill(); err != nil {
				return 0, nil, err
			}
			continue
		case err != nil:
			return 0, nil, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		payload = bytes.Clone(payload)
		c.took(n)
		switch typ {
		case pgproto.TypeNoticeResponse, pgproto.TypeParameterStatus, pgproto.TypeNotificationResponse,
			pgproto.TypeNegotiateProtocolVersion, pgproto.TypeBackendKeyData:
			continue
		}
		return typ, payload, nil
	}
}

func (c *pgConn) ask(ctx context.Context) (Answer, error) {
	stop, err := c.bound(ctx)
	if err != nil {
		return Answer{}, err
	}
	defer stop()
	if !c.little {
		row, err := c.query(askAll)
		said, is := errors.AsType[*pgError](err)
		if err == nil {
			return postgresAnswer(row)
		}
		if !is || said.Fatal() {
			return Answer{}, err
		}
		// Another error than of what the server does not have is that it was promoted
		// between two of the questions.
		c.little = strings.HasPrefix(said.State, "42") || strings.HasPrefix(said.State, "0A")
	}
	row, err := c.query(askLittle)
	if err != nil {
		return Answer{}, err
	}
	return postgresAnswer(row)
}

// query returns the last row that a statement gives. After an error that the
// server answered with and that is not fatal the session goes on.
func (c *pgConn) query(sql string) (row []string, err error) {
	return row, c.each(sql, func([]string) {}, func(r []string) error {
		row = r
		return nil
	})
}

// each gives the names of the columns of a statement, and then its rows.
func (c *pgConn) each(sql string, columnNames func([]string), row func([]string) error) error {
	if err := c.write(pgproto.AppendQuery(nil, sql)); err != nil {
		return err
	}
	var failure error
	for {
		typ, payload, err := c.message()
		if err != nil {
			return err
		}
		switch typ {
		case pgproto.TypeRowDescription:
			columnNames(described(payload))
		case pgproto.TypeDataRow:
			values, err := columns(payload)
			if err == nil {
				err = row(values)
			}
			if err != nil {
				return err
			}
		case pgproto.TypeErrorResponse:
			failure = serverError(payload)
			if e, ok := errors.AsType[*pgError](failure); !ok || e.Fatal() {
				return failure
			}
		case pgproto.TypeReadyForQuery:
			return failure
		}
	}
}

// described gives the names of columns in RowDescription, as far as they are
// there: each is a text that ends with 0, before 18 bytes about it.
func described(b []byte) (names []string) {
	if len(b) < 2 {
		return nil
	}
	b = b[2:]
	for {
		name, rest, ok := bytes.Cut(b, []byte{0})
		if !ok || len(rest) < 18 {
			return names
		}
		names, b = append(names, string(name)), rest[18:]
	}
}

// columns reads DataRow: the number of columns, and of each its length, -1 for
// NULL, and its text.
func columns(b []byte) ([]string, error) {
	bad := fmt.Errorf("%w: a row is malformed", ErrProtocol)
	if len(b) < 2 {
		return nil, bad
	}
	n := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	var out []string
	for range n {
		if len(b) < 4 {
			return nil, bad
		}
		size := int(int32(binary.BigEndian.Uint32(b)))
		b = b[4:]
		if size > len(b) || size < -1 {
			return nil, bad
		}
		size = max(size, 0)
		out = append(out, string(b[:size]))
		b = b[size:]
	}
	return out, nil
}

func postgresAnswer(row []string) (Answer, error) {
	if len(row) < 2 {
		return Answer{}, fmt.Errorf("%w: %d columns", ErrProtocol, len(row))
	}
	a := Answer{Primary: row[0] == "f" || row[0] == "false", ReadOnly: row[1] == "on"}
	if len(row) == 4 {
		a.Timeline, a.Position = timelineOf(row[2]), positionOf(row[3])
	}
	return a, nil
}

// timelineOf reads the timeline in the name of a WAL file, 0 if it is none.
func timelineOf(file string) uint32 {
	if len(file) != 24 {
		return 0
	}
	n, err := strconv.ParseUint(file[:8], 16, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// positionOf reads a pg_lsn: two halves of 32 bits in hexadecimal.
func positionOf(lsn string) int64 {
	high, low, ok := strings.Cut(lsn, "/")
	a, err1 := strconv.ParseUint(high, 16, 31)
	b, err2 := strconv.ParseUint(low, 16, 32)
	if !ok || err1 != nil || err2 != nil {
		return 0
	}
	return int64(a<<32 | b)
}
