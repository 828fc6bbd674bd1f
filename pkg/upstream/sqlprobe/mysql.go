package sqlprobe

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// What a server of MySQL or MariaDB is asked. super_read_only implies read_only,
// in MySQL; innodb_read_only is what a reader of a managed database has that
// shares its storage with the writer. Servers that only speak the protocol may
// not know that one.
const (
	askReadOnly   = "SELECT @@global.read_only, @@global.innodb_read_only"
	askReadOnlyMe = "SELECT @@global.read_only"
)

const errnoUnknownVariable = 1193

// myCapabilities are those of a client that asks one simple thing.
const myCapabilities = mysqlproto.LongPassword | mysqlproto.LongFlag | mysqlproto.Protocol41 | mysqlproto.Transactions |
	mysqlproto.SecureConnection | mysqlproto.PluginAuth | mysqlproto.PluginAuthLenenc | mysqlproto.ConnectAttrs

// myConn is a session at a server of MySQL or MariaDB.
type myConn struct {
	*wire
	seq    byte // of the latest packet, of either side
	little bool // the server does not know how to answer askReadOnly
}

func (c *myConn) close() {
	// Within the deadline of the latest question; else the server would count an
	// aborted client.
	_ = c.write(mysqlproto.AppendPacket(nil, 0, []byte{byte(mysqlproto.ComQuit)}))
	_ = c.nc.Close()
}

func dialMySQL(ctx context.Context, t *Target, user, password string) (conn, error) {
	w, err := dial(ctx, t)
	if err != nil {
		return nil, err
	}
	c := &myConn{wire: w}
	stop, err := w.bound(ctx)
	if err == nil {
		defer stop()
		err = c.login(ctx, t, user, password)
	}
	if err != nil {
		_ = w.nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *myConn) login(ctx context.Context, t *Target, user, password string) error {
	payload, err := c.packet()
	if err != nil {
		return err
	}
	greeting, err := mysqlproto.ParseGreeting(payload)
	if err != nil {
		return refusedMySQL(err) // an ERR: no room, or a host that is blocked
	}
	r := mysqlproto.HandshakeResponse{
		Capabilities: (myCapabilities & greeting.Capabilities) | mysqlproto.LongPassword,
		MaxPacket:    maxMessage, Charset: 45, User: user, Database: t.Database, // utf8mb4
		Attrs: mysqlproto.AppendAttrs(nil, []mysqlproto.Attr{{Name: "program_name", Value: cmp.Or(t.Application, applicationName)}}),
	}
	if t.Database != "" {
		r.Capabilities |= mysqlproto.ConnectWithDB
	}
	secure, err := c.upgrade(ctx, t, &greeting, &r)
	if err != nil {
		return err
	}
	auth := mysqlproto.NewAuth(mysqlproto.AuthConfig{
		User: user, Password: password, Allow: mysqlproto.MethodsDefault | mysqlproto.MethodCleartext,
		Secure: secure || t.Network == "unix", Several: greeting.MariaDB(), Random: rand.Reader,
	})
	if r.AuthPlugin, r.Auth, err = auth.Begin(greeting.AuthPlugin, greeting.Scramble); err != nil {
		return refusedMySQL(err)
	}
	if payload, err = r.AppendTo(nil); err != nil {
		return refusedMySQL(err)
	}
	if err := c.send(payload); err != nil {
		return err
	}
	return c.authenticate(auth)
}

// upgrade begins TLS where it is demanded. secure says that the server has shown
// who it is.
func (c *myConn) upgrade(ctx context.Context, t *Target, g *mysqlproto.Greeting, r *mysqlproto.HandshakeResponse) (secure bool, err error) {
	switch {
	case t.TLS == nil:
		return false, nil
	case !t.StartTLS:
		return verified(t.TLS), nil
	case !g.Capabilities.Has(mysqlproto.SSL) && t.TLSOptional:
		return false, nil
	case !g.Capabilities.Has(mysqlproto.SSL):
		return false, fmt.Errorf("%w: it does not offer TLS", ErrUntrusted)
	}
	r.Capabilities |= mysqlproto.SSL
	if err := c.send(r.AppendSSLRequest(nil)); err != nil {
		return false, err
	}
	return verified(t.TLS), c.startTLS(ctx, t.TLS)
}

func (c *myConn) authenticate(auth *mysqlproto.Auth) error {
	for {
		payload, err := c.packet()
		if err != nil {
			return err
		}
		out, answer, done, err := auth.Step(nil, payload)
		if err != nil {
			return refusedMySQL(err)
		}
		if answer {
			if err := c.send(out); err != nil {
				return err
			}
		}
		if done {
			return nil
		}
	}
}

// refusedMySQL sorts what ends a login. A server that has no room may have some
// soon.
func refusedMySQL(err error) error {
	if e, ok := errors.AsType[*mysqlproto.ServerError](err); ok {
		if e.NoRoom() || e.Errno == mysqlproto.ErrnoServerShutdown {
			return err
		}
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if _, broken := errors.AsType[*mysqlproto.ProtocolError](err); broken || errors.Is(err, mysqlproto.ErrUnsupported) {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return fmt.Errorf("%w: %w", ErrUntrusted, err)
}

// send writes a payload as the next packet.
func (c *myConn) send(payload []byte) error {
	c.seq++
	return c.write(mysqlproto.AppendPacket(nil, c.seq, payload))
}

// packet waits for the next one. Its payload is the caller's.
func (c *myConn) packet() ([]byte, error) {
	for {
		seq, payload, n, err := mysqlproto.ParsePacket(c.buf, maxMessage)
		switch {
		case err == nil:
			c.seq = seq
			payload = bytes.Clone(payload)
			c.took(n)
			return payload, nil
		case !errors.Is(err, mysqlproto.ErrIncomplete):
			return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

func (c *myConn) ask(ctx context.Context) (Answer, error) {
	stop, err := c.bound(ctx)
	if err != nil {
		return Answer{}, err
	}
	defer stop()
	if !c.little {
		row, err := c.query(askReadOnly)
		if e, ok := errors.AsType[*mysqlproto.ServerError](err); !ok || e.Errno != errnoUnknownVariable {
			return mysqlAnswer(row, err)
		}
		c.little = true
	}
	return mysqlAnswer(c.query(askReadOnlyMe))
}

// Heads of packets that end something.
const (
	headOK    = 0x00
	headEOF   = 0xfe // with fewer than nine bytes
	headError = 0xff
)

// query returns the last row that a statement gives.
func (c *myConn) query(sql string) (row []string, err error) {
	return row, c.each(sql, func(string) {}, func(r []string) error {
		row = r
		return nil
	})
}

// each gives the name of each column of a statement, and then its rows. A response
// is the number of columns, the columns, their end, the rows, their end.
func (c *myConn) each(sql string, column func(string), row func([]string) error) error {
	c.seq = 0xff // a command begins anew with 0
	if err := c.send(append([]byte{byte(mysqlproto.ComQuery)}, sql...)); err != nil {
		return err
	}
	for n, ends := 0, 0; ends < 2; n++ {
		payload, err := c.packet()
		switch {
		case err != nil:
			return err
		case len(payload) == 0 || n == 0 && payload[0] == headOK:
			return fmt.Errorf("%w: the answer to a question is not rows", ErrProtocol)
		case payload[0] == headError:
			e, err := mysqlproto.ParseError(payload)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrProtocol, err)
			}
			return e
		case payload[0] == headEOF && len(payload) < 9:
			ends++
		case ends == 1:
			row1, err := values(payload)
			if err == nil {
				err = row(row1)
			}
			if err != nil {
				return err
			}
		case n > 0: // catalog, schema, table, table as it was created, name, and more
			if texts, err := values(payload); len(texts) > columnName {
				column(texts[columnName])
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// columnName is the place of the name in the description of a column.
const columnName = 4

// values reads a row of texts, each after its length. What follows texts that are
// read is an error, beside them.
func values(b []byte) (row []string, err error) {
	for len(b) > 0 {
		n, head := length(b)
		if head == 0 || n > len(b)-head {
			return row, fmt.Errorf("%w: a row is malformed", ErrProtocol)
		}
		row = append(row, string(b[head:head+n]))
		b = b[head+n:]
	}
	return row, nil
}

// length reads the length of a text, and how many bytes say it: one, or two or
// three after 0xfc or 0xfd; 0xfb is NULL. No text here is longer.
func length(b []byte) (n, head int) {
	switch {
	case b[0] < 0xfb:
		return int(b[0]), 1
	case b[0] == 0xfb:
		return 0, 1
	case b[0] == 0xfc && len(b) > 2:
		return int(b[1]) | int(b[2])<<8, 3
	case b[0] == 0xfd && len(b) > 3:
		return int(b[1]) | int(b[2])<<8 | int(b[3])<<16, 4
	}
	return 0, 0
}

func mysqlAnswer(row []string, err error) (Answer, error) {
	switch {
	case err != nil:
		return Answer{}, err
	case len(row) == 0:
		return Answer{}, fmt.Errorf("%w: no row", ErrProtocol)
	}
	readOnly := false
	for _, v := range row {
		// MariaDB 12 has words: OFF, ON and two more that are on.
		readOnly = readOnly || v != "0" && v != "" && !strings.EqualFold(v, "OFF")
	}
	return Answer{Primary: !readOnly, ReadOnly: readOnly}, nil
}
