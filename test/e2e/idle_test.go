package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

const (
	// manySessions are open at once.
	manySessions = 5000
	// mostPerSession is what the proxy may have resident for each of them, in bytes, when all is quiet.
	mostPerSession = 8 << 10
	// mostBefore is what it has resident once the pages that its start needed are handed back.
	mostBefore = 15 << 20
)

// TestManyIdleSessions opens 5,000 sessions that each ask once, and looks at what the proxy has resident then; after that every one still works.
func TestManyIdleSessions(t *testing.T) {
	t.Parallel()
	const others = 2000 // of the tests that run beside this one
	n := min(manySessions, (descriptors(t)-others)/2)
	if n < manySessions {
		t.Logf("a process may have %d files open here: that is enough for %d sessions, not for %d", descriptors(t), n, manySessions)
	}
	if n < manySessions/10 {
		t.Fatalf("%d descriptors are too few for this test: raise the limit (ulimit -n)", descriptors(t))
	}
	tests := []struct {
		name string
		run  func(t *testing.T, n int)
	}{
		// PostgreSQL has a process for each session: it would take 10 GB.
		{"PostgreSQL, sessions with connections of their own, to a server that is not real", func(t *testing.T, n int) {
			idleSessions(t, n, "postgres", lightPostgres(t), "", openPostgres)
		}},
		{"PostgreSQL, sessions that share connections", func(t *testing.T, n int) {
			idleSessions(t, n, "postgres", dbtest.StartPostgres(t).Addr(), "postgres: {pool: {mode: Transaction}}", openPostgres)
		}},
		{"MariaDB", func(t *testing.T, n int) {
			server := dbtest.StartMariaDB(t, dbtest.MariaDBSetting("max-connections", "6000"), dbtest.MariaDBSetting("thread-handling", "pool-of-threads"))
			idleSessions(t, n, "mysql", server.Addr(), "", openMariaDB)
		}},
	}
	for _, tt := range tests { // one after the other: they need many descriptors
		t.Run(tt.name, func(t *testing.T) { tt.run(t, n) })
	}
}

func idleSessions(t *testing.T, n int, protocol, server, more string, open func(ctx context.Context, port int) (dbtest.Session, error)) {
	t.Helper()
	port := redistest.Port(t)
	user := map[string]string{"postgres": dbtest.SCRAMUser, "mysql": dbtest.NativeUser}[protocol]
	file := filetest.Put(t, filepath.Join(t.TempDir(), "mesh.yaml"), fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: orders}
spec:
  protocol: %s
  listen: {port: %d}
  limits: {maxWait: 120s}
  environments: {prod: {address: %q, database: app, credentials: {username: %s, passwordEnv: FIRST_SECRET}}}
  defaultEnvironment: prod
  %s
`, protocol, port, server, user, more))
	p := deliver(t, []string{"FIRST_SECRET=" + dbtest.Password}, "run", "-f", file, "--drain-timeout", "1s")
	p.awaitReady()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	all := make([]dbtest.Session, n)
	defer func() {
		for _, s := range all {
			if s != nil {
				_ = s.Close()
			}
		}
	}()
	begin := func(from, to int) {
		if err := each(from, to, func(i int) error {
			s, err := open(ctx, port)
			if err != nil {
				return err
			}
			all[i] = s
			return s.Exec(ctx, "select 1")
		}); err != nil {
			t.Fatal(err)
		}
	}
	begin(0, 10) // what is made once is there then
	var before int64
	redistest.Eventually(t, readyLimit, "the memory that the start took to be handed back", func() error {
		if before = p.memory("VmRSS"); before > mostBefore {
			return fmt.Errorf("%d bytes", before)
		}
		return nil
	})
	begin(10, n)
	var per int64
	redistest.Eventually(t, readyLimit, "the memory that logins took to be handed back", func() error {
		if per = (p.memory("VmRSS") - before) / int64(n-10); per > mostPerSession {
			return fmt.Errorf("%d bytes for each session, want at most %d", per, mostPerSession)
		}
		return nil
	})
	t.Logf("%d sessions: %d bytes resident for each, beside the %d bytes of the proxy itself", n, per, before)
	if err := each(0, n, func(i int) error { return all[i].Exec(ctx, "select 1") }); err != nil {
		t.Error(err)
	}
}

// each calls fn for every number, by several goroutines.
func each(from, to int, fn func(i int) error) error {
	var next atomic.Int64
	next.Store(int64(from))
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for w := range errs {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < to && errs[w] == nil; i = int(next.Add(1)) - 1 {
				if err := fn(i); err != nil {
					errs[w] = fmt.Errorf("session %d: %w", i, err)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func openPostgres(ctx context.Context, port int) (dbtest.Session, error) {
	return dbtest.ConnectPostgres(ctx, fmt.Sprintf("host=127.0.0.1 port=%d user=app dbname=app sslmode=disable", port))
}

func openMariaDB(ctx context.Context, port int) (dbtest.Session, error) {
	return dbtest.ConnectMySQL(ctx, fmt.Sprintf("app:none@tcp(127.0.0.1:%d)/", port))
}

// lightPostgres is a server that checks the proxy's password by SCRAM, tells what servers tell, and answers each query with nothing.
func lightPostgres(t *testing.T) string {
	t.Helper()
	salt := sha256.Sum256([]byte(t.Name()))
	keys, err := pgproto.DeriveSCRAM(dbtest.Password, salt[:16], 4096)
	if err != nil {
		t.Fatal(err)
	}
	verifier := keys.Verifier(salt[:16], 4096)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		for number := uint32(1); ; number++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s := &lightSession{Conn: conn, number: number, verifier: verifier.String()}
			wg.Go(func() {
				defer conn.Close()
				if err := s.serve(); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
					t.Logf("session %d of the light server: %v", number, err)
				}
			})
		}
	})
	return ln.Addr().String()
}

type lightSession struct {
	net.Conn
	number   uint32
	verifier string
}

// read reads what follows a message's type: its length, and its payload.
func (s *lightSession) read() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(s, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > 1<<16 {
		return nil, fmt.Errorf("message of %d bytes", n)
	}
	b := make([]byte, n-4)
	_, err := io.ReadFull(s, b)
	return b, err
}

func (s *lightSession) message() (typ byte, payload []byte, err error) {
	var b [1]byte
	if _, err := io.ReadFull(s, b[:]); err != nil {
		return 0, nil, err
	}
	payload, err = s.read()
	return b[0], payload, err
}

func (s *lightSession) serve() error {
	if _, err := s.read(); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	out := pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil)
	for _, p := range []string{"application_name\x00\x00", "client_encoding\x00UTF8\x00", "server_version\x0015.8\x00", "TimeZone\x00UTC\x00"} {
		out = pgproto.AppendMessage(out, pgproto.TypeParameterStatus, []byte(p))
	}
	out = pgproto.AppendMessage(out, pgproto.TypeBackendKeyData, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, s.number), s.number))
	out = pgproto.AppendReadyForQuery(out, pgproto.TxIdle)
	for {
		if _, err := s.Write(out); err != nil {
			return err
		}
		typ, _, err := s.message()
		if err != nil || typ == pgproto.TypeTerminate {
			return err
		}
		out = pgproto.AppendMessage(out[:0], pgproto.TypeCommandComplete, []byte("SELECT 0\x00"))
		out = pgproto.AppendReadyForQuery(out, pgproto.TxIdle)
	}
}

// check lets the proxy in if it knows the password.
func (s *lightSession) check() error {
	a, err := pgproto.NewAuthServer(pgproto.AuthServerConfig{
		Method: pgproto.MethodSCRAM, User: dbtest.SCRAMUser, Password: s.verifier, Random: sha256.Sum256(binary.BigEndian.AppendUint32(nil, s.number)),
	})
	if err != nil {
		return err
	}
	for out, done := a.Start(nil), false; !done; {
		if _, err := s.Write(out); err != nil {
			return err
		}
		_, payload, err := s.message()
		if err != nil {
			return err
		}
		if out, done, err = a.Step(out[:0], payload); err != nil {
			return err
		}
		if done {
			_, err = s.Write(out)
			return err
		}
	}
	return nil
}
