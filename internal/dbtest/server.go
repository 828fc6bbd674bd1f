package dbtest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// Server is what both kinds of server have in common. SQL that it runs for tests is run by the server's own client, over the unix socket.
type Server struct {
	// Read-only after construction.
	tb      TB
	account account
	dir     string // of everything that belongs to the server
	port    int
	bin     string
	args    []string
	ready   func() error
	killed  func()                                            // cleans up what a killed server leaves in the kernel; may be nil
	client  func(database string) (bin string, args []string) // runs what it reads from its standard input
	counts  counts
	reread  string // has the server read its certificates again

	mu   sync.Mutex // guards what follows
	proc *redistest.Process
}

// counts are statements, to be completed by a text in quotes.
type counts struct {
	sessions string // of a user
	running  string // statements with a text
}

// SQL runs statements as the server's administrator in the database app, and returns what they print: columns divided by "|" at PostgreSQL and by tabs
// at MariaDB, rows by line feeds, without a line feed at the end.
func (s *Server) SQL(sql string) string {
	s.tb.Helper()
	out, err := s.TrySQL(Database, sql)
	if err != nil {
		s.tb.Fatalf("%v", err)
	}
	return out
}

// TrySQL is SQL in any database, for goroutines that may not fail a test and for servers that may be down.
func (s *Server) TrySQL(database, sql string) (string, error) {
	bin, args := s.client(database)
	out, err := s.account.run(sql, bin, args...)
	return strings.TrimSuffix(out, "\n"), err
}

// Sessions is how many sessions of a user the server has.
func (s *Server) Sessions(user string) int {
	s.tb.Helper()
	return s.count(s.counts.sessions, user)
}

// Running reports whether one session of the server is busy with a statement.
func (s *Server) Running(statement string) bool {
	s.tb.Helper()
	return s.count(s.counts.running, statement) == 1
}

func (s *Server) count(sql, of string) int {
	s.tb.Helper()
	text := s.SQL(sql + " = '" + strings.ReplaceAll(of, "'", "''") + "'")
	n, err := strconv.Atoi(text)
	if err != nil {
		s.tb.Fatalf("%s: %q is not a number", sql, text)
	}
	return n
}

// Addr returns "127.0.0.1:port".
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Port returns the port of Addr.
func (s *Server) Port() int { return s.port }

// Dir is the directory in which the server's files and its unix socket lie.
func (s *Server) Dir() string { return s.dir }

// Pid returns the process id of the latest start.
func (s *Server) Pid() int { return s.process().Pid() }

// Done is closed when the process of the latest start has ended.
func (s *Server) Done() <-chan struct{} { return s.process().Done() }

// Output returns what the server has logged since its latest start.
func (s *Server) Output() string { return string(s.process().Output()) }

func (s *Server) process() *redistest.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

// start runs the server and waits until it answers.
func (s *Server) start() {
	s.tb.Helper()
	name, args := s.account.command(s.bin, s.args...)
	proc := redistest.Run(s.tb, name, args...)
	s.mu.Lock()
	s.proc = proc
	s.mu.Unlock()
	// Runs before the process is killed: a server that ends by itself leaves no shared memory behind.
	s.tb.Cleanup(func() { s.end(proc, syscall.SIGQUIT) })
	redistest.Eventually(s.tb, startLimit, filepath.Base(s.bin)+" to answer", func() error {
		select {
		case <-proc.Done():
			s.tb.Fatalf("%s has ended; it printed:\n%s", filepath.Base(s.bin), proc.Output())
		default:
		}
		return s.ready()
	})
}

// end asks a process to end, and kills it if that takes too long.
func (s *Server) end(proc *redistest.Process, sig syscall.Signal) {
	select {
	case <-proc.Done():
		return
	default:
	}
	s.signalAll(proc, syscall.SIGCONT)
	if err := proc.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.tb.Logf("ending %s: %v", filepath.Base(s.bin), err)
	}
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	select {
	case <-proc.Done():
	case <-timer.C:
		s.kill(proc)
	}
}

// Kill ends the server at once, with all of its processes, as a crash of its machine would, save that the kernel still closes its sockets.
func (s *Server) Kill() {
	s.tb.Helper()
	s.kill(s.process())
}

func (s *Server) kill(proc *redistest.Process) {
	s.tb.Helper()
	pids := children(proc.Pid())
	s.signalAll(proc, syscall.SIGKILL)
	proc.Kill()
	// A server that is started again looks whether any of the old one's processes is left.
	redistest.Eventually(s.tb, 10*time.Second, "all processes to be gone", func() error {
		for _, pid := range pids {
			if state, _ := procStat(pid); running(state) {
				return fmt.Errorf("process %d is in state %c", pid, state)
			}
		}
		return nil
	})
	if s.killed != nil {
		s.killed()
	}
}

// Freeze stops all of the server's processes: its sockets stay open, the kernel goes on accepting for it, and nothing answers. It returns
// when all stand still.
func (s *Server) Freeze() {
	s.tb.Helper()
	proc := s.process()
	proc.Freeze()
	redistest.Eventually(s.tb, 10*time.Second, "all processes to stand still", func() error {
		s.signalAll(proc, syscall.SIGSTOP)
		for _, pid := range children(proc.Pid()) {
			if state, _ := procStat(pid); state != 'T' && running(state) {
				return fmt.Errorf("process %d is in state %c", pid, state)
			}
		}
		return nil
	})
}

// Thaw lets a frozen server go on.
func (s *Server) Thaw() { s.signalAll(s.process(), syscall.SIGCONT) }

// Restart ends the server, if it still runs, and starts it again with its data, on the same port.
func (s *Server) Restart() {
	s.tb.Helper()
	s.end(s.process(), syscall.SIGQUIT)
	s.start()
}

// signalAll sends a signal to the process and to all of its children, the parent first.
func (s *Server) signalAll(proc *redistest.Process, sig syscall.Signal) {
	select {
	case <-proc.Done():
		return // its number may be somebody else's by now
	default:
	}
	pids := children(proc.Pid())
	_ = proc.Signal(sig)
	for _, pid := range pids {
		_ = syscall.Kill(pid, sig)
	}
}

// children returns the ids of a process' children.
func children(parent int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if _, ppid := procStat(pid); ppid == parent {
			pids = append(pids, pid)
		}
	}
	return pids
}

// running reports whether a process in the given state is more than a number that its parent has not asked for.
func running(state byte) bool { return state != 0 && state != 'Z' && state != 'X' }

// procStat returns the state of a process, and its parent; 0 if it is gone.
func procStat(pid int) (state byte, ppid int) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	// The second field is the program's name in parentheses, and may itself contain any character.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 || len(fields[0]) != 1 {
		return 0, 0
	}
	ppid, err = strconv.Atoi(string(fields[1]))
	if err != nil {
		return 0, 0
	}
	return fields[0][0], ppid
}

// install copies a certificate and its key to where the server can read them.
func (s *Server) install(pki *redistest.PKI) error {
	for from, to := range map[string]string{pki.ServerCertFile: "server.crt", pki.ServerKeyFile: "server.key", pki.CAFile: "ca.crt"} {
		content, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := s.account.write(filepath.Join(s.dir, to), content); err != nil {
			return err
		}
	}
	return nil
}

// Certify gives a server that offers TLS a certificate of another authority, by and by.
func (s *Server) Certify(pki *redistest.PKI) {
	s.tb.Helper()
	if err := s.install(pki); err != nil {
		s.tb.Fatalf("installing certificates: %v", err)
	}
	s.SQL(s.reread)
}

// copyTemplate makes the server's data directory.
func (s *Server) copyTemplate(from string) error {
	_, err := s.account.run("", "/bin/cp", "-a", "--reflink=auto", from, filepath.Join(s.dir, "data"))
	return err
}
