// Package sqlprobe logs in at one server of a database in a blocking way, beside
// the data path, and asks what it is: a primary or a standby, and whether it
// takes writes.
//
// The connection is kept from one question to the next, so that a server sees
// one login of each proxy and not one for each question. A server that has
// refused the login is not asked again with the same credentials for a while.
package sqlprobe

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// Protocol is what a server speaks.
type Protocol uint8

// The protocols.
const (
	Postgres Protocol = iota
	MySQL             // MariaDB too
)

// Target is a server and how to log in there.
type Target struct {
	Protocol Protocol
	Network  string // tcp or unix
	Address  string
	TLS      *tls.Config // nil: plain
	// StartTLS asks the server for TLS in the protocol; else TLS begins at once.
	StartTLS bool
	// TLSOptional goes on in plain text with a server that does not offer TLS, or lets
	// nobody in over it.
	TLSOptional bool
	// Login gives user and password as they are now; the password may be empty.
	Login    func() (user, password string, err error)
	Database string // "": postgres at PostgreSQL, none at MySQL
	// Allow are ways to log in at PostgreSQL, of which the server must ask for one;
	// 0: any. The password itself goes over verified TLS only in any case.
	Allow pgproto.Methods
	// Application is what the server shows of the session to its users; "": a
	// health check.
	Application string
}

// Answer is what a server says of itself.
type Answer struct {
	// Primary is a server that is not in recovery; with MySQL, one that is not
	// read only.
	Primary bool
	// ReadOnly is a server where transactions do not write, unless they say that
	// they do. A standby always is.
	ReadOnly bool
	// Timeline of a PostgreSQL primary: one that was promoted later has a higher
	// one. 0: not known.
	Timeline uint32
	// Position in the log of changes, in bytes, comparable between PostgreSQL
	// servers of one timeline; 0: not known.
	Position int64
}

// Errors of a login that it is no use to try again soon.
var (
	// ErrRefused: the server does not let the user in.
	ErrRefused = errors.New("the server refuses the login")
	// ErrUntrusted: the server asks for a password in a way that is not allowed,
	// or does not offer the TLS that is demanded.
	ErrUntrusted = errors.New("the proxy does not log in at this server")
	// ErrProtocol: it is not a server of this kind.
	ErrProtocol = errors.New("the server does not keep to the protocol")
)

// conn is a connection that has been let in.
type conn interface {
	// ask bounds itself by the context.
	ask(ctx context.Context) (Answer, error)
	close()
}

// Times between logins with credentials that were refused: the first, doubled up
// to the last.
const (
	holdFirst = 5 * time.Second
	holdLast  = time.Minute
)

// Asker asks one server. It is for one goroutine.
type Asker struct {
	target  Target
	conn    conn
	refused refusal
}

// refusal remembers a login that came to nothing.
type refusal struct {
	user, password string
	err            error
	until          time.Time
	hold           time.Duration
}

// New returns an Asker without a connection.
func New(t Target) *Asker { return &Asker{target: t} }

// Ask questions the server; the context bounds it. A connection that was kept may
// have been closed meanwhile: that alone says nothing of the server, and another
// is made.
func (a *Asker) Ask(ctx context.Context) (Answer, error) {
	if a.conn != nil {
		answer, err := a.question(ctx)
		if err == nil || ctx.Err() != nil {
			return answer, err
		}
	}
	if err := a.dial(ctx); err != nil {
		return Answer{}, err
	}
	return a.question(ctx)
}

func (a *Asker) question(ctx context.Context) (Answer, error) {
	answer, err := a.conn.ask(ctx)
	if err != nil {
		a.Close()
	}
	return answer, err
}

func (a *Asker) dial(ctx context.Context) error {
	user, password, err := a.target.Login()
	if err != nil {
		return err
	}
	r := &a.refused
	if user != r.user || password != r.password {
		*r = refusal{user: user, password: password}
	}
	if r.err != nil && time.Now().Before(r.until) {
		return r.err
	}
	c, err := connect(ctx, &a.target, user, password)
	switch {
	case err == nil:
		a.conn, r.err, r.hold = c, nil, 0
	case errors.Is(err, ErrRefused) || errors.Is(err, ErrUntrusted) || errors.Is(err, ErrProtocol):
		r.hold = min(max(2*r.hold, holdFirst), holdLast)
		r.err, r.until = err, time.Now().Add(r.hold)
	}
	return err
}

func connect(ctx context.Context, t *Target, user, password string) (conn, error) {
	if t.Protocol == MySQL {
		return dialMySQL(ctx, t, user, password)
	}
	return dialPostgres(ctx, t, user, password)
}

// Close closes the connection, if there is one. The next question makes another.
func (a *Asker) Close() {
	if a.conn != nil {
		a.conn.close()
		a.conn = nil
	}
}
