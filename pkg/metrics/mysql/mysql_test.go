package mysql_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/mysql"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/sqlprobe"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func open(t *testing.T, cfg resource.ServerSource, password string) *mysql.Source {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	cfg.Auth.Password = resource.SecretKey{Name: "p"}
	s, err := mysql.New(&resource.MySQLSource{ServerSource: cfg}, metrics.Env{Secrets: tooltest.Secrets{"p": password}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestRealServer asks as somebody who may log in and no more, twice in one
// session, and a third time after the server has ended it.
func TestRealServer(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	s := open(t, resource.ServerSource{Address: server.Addr(), Database: dbtest.Database, Auth: resource.MetricsAuth{Username: dbtest.NativeUser}}, dbtest.Password)
	for range 2 {
		if err := tooltest.Shows(t, s, "mysql_up 1\n", `mysql_global_status_commands_total{command="select"} `, "mysql_global_status_threads_connected ",
			"# TYPE mysql_global_status_handlers_total counter\n", `mysql_global_status_buffer_pool_pages{state="free"} `, "mysql_global_variables_max_connections ",
			"mysql_global_variables_read_only 0\n", `mysql_version_info{version="`); err != nil {
			t.Error(err)
		}
	}
	if n := server.SQL("SELECT count(*) FROM information_schema.processlist WHERE user = '" + dbtest.NativeUser + "'"); strings.TrimSpace(n) != "1" {
		t.Errorf("%s sessions, want one that is kept", n)
	}
	id := strings.TrimSpace(server.SQL("SELECT id FROM information_schema.processlist WHERE user = '" + dbtest.NativeUser + "'"))
	server.SQL("KILL " + id)
	if err := tooltest.Shows(t, s, "mysql_up 1\n"); err != nil {
		t.Errorf("after the session was ended: %v", err)
	}
	server.Stop()
	if err := tooltest.Shows(t, s, "mysql_up 0\n"); err == nil || errors.Is(err, tooltest.ErrNotShown) {
		t.Errorf("a server that is away: %v", err)
	}
}

// TestReplica: the state of a link that is not up, as the server tells it.
func TestReplica(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	server.SQL("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1, MASTER_USER='x', MASTER_PASSWORD='y'")
	s := open(t, resource.ServerSource{Address: server.Addr(), Auth: resource.MetricsAuth{Username: dbtest.NativeUser}}, dbtest.Password)
	if err := tooltest.Shows(t, s, `mysql_slave_status_slave_io_running{channel_name="",connection_name="",master_host="127.0.0.1",master_uuid=""} 0`+"\n"); err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	s := open(t, resource.ServerSource{Address: server.Addr(), Auth: resource.MetricsAuth{Username: dbtest.NativeUser}}, "wrong password")
	if err := tooltest.Shows(t, s, "mysql_up 0\n"); !errors.Is(err, sqlprobe.ErrRefused) || strings.Contains(err.Error(), "wrong password") {
		t.Errorf("a wrong password: %v", err)
	}
}

// TestServersThatAreNone: mysql_up is 0 in time, whatever answers.
func TestServersThatAreNone(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"garbage": "HTTP/1.1 400 Bad Request\r\n\r\n", "silence": "", "a huge packet": "\xff\xff\xff\x00", "half": "\x4a\x00\x00\x00\x0a"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				_, _ = io.WriteString(c, answer) // what the test is about
				_, _ = io.Copy(io.Discard, c)    // until the other end has had enough
			}()
			s := open(t, resource.ServerSource{Address: l.Addr().String(), Timeout: 300 * time.Millisecond}, "x")
			if err := tooltest.Shows(t, s, "mysql_up 0\n"); err == nil || errors.Is(err, tooltest.ErrNotShown) {
				t.Errorf("error %v", err)
			}
			_ = l.Close() // the goroutine has accepted, or need not any more
			<-done
		})
	}
}
