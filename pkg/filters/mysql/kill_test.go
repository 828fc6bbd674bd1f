package mysql

import (
	"fmt"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// TestKill: a KILL reaches the server of the session that it is for, by the
// number that its client knows, also after the listener has gone to another one.
func TestKill(t *testing.T) {
	t.Parallel()
	f, dev, prod, next := twoEnvironments(t)
	prod.SQL("select 1") // so that both servers use the same numbers
	victim := f.login(mysqlproto.PluginNative, nil)
	victim.read()
	inDev := victim.greeting.ThreadID
	if got := victim.value("select connection_id()"); got != fmt.Sprint(inDev) {
		t.Errorf("the client knows thread %d, the server %s", inDev, got)
	}
	other := f.connect()
	victim.seq = 0
	victim.write(append([]byte{byte(mysqlproto.ComQuery)}, "select sleep(600)"...))
	eventually(t, "the query to run", func() bool { return dev.Running("select sleep(600)") })
	execute(t, other, fmt.Sprint("kill query ", inDev)) // at the same server: as it is
	if row := readSleep(victim); row != "1317" {
		t.Errorf("the interrupted sleep: %q", row)
	}
	victim.seq = 0
	victim.write(append([]byte{byte(mysqlproto.ComQuery)}, "select sleep(601)"...))
	eventually(t, "the query to run", func() bool { return dev.Running("select sleep(601)") })
	done := f.swap(next, filters.Retirement{Deadline: time.Minute})
	far := f.connect("multiStatements=true")
	if got := query[string](t, far, "select name from env"); got != "prod" {
		t.Fatalf("the new session is in %q", got)
	}
	execute(t, far, fmt.Sprintf(" /* app */ KILL QUERY %d;", inDev))
	if row := readSleep(victim); row != "1317" {
		t.Errorf("the sleep that was interrupted from elsewhere: %q", row)
	}
	<-done
	if got := f.metric("cancel_requests_total", "passed_on"); got != 1 {
		t.Errorf("%v KILLs passed on", got)
	}
	if _, err := far.ExecContext(withTimeout(t), "kill 123456789"); dbtest.Code(err) != "1094" {
		t.Errorf("a thread that nobody knows: %v", err)
	}
}

// TestThreadNumbers: sessions at two servers that use the same number are told
// apart by what their clients know.
func TestThreadNumbers(t *testing.T) {
	t.Parallel()
	var threads [2]chan struct{}
	address := make([]string, 2)
	for i := range threads {
		threads[i] = make(chan struct{})
		address[i] = dbtest.StartFakeMySQL(t, dbtest.CachingSHA2, nil).Addr() // whose threads all have the number 7
	}
	f := start(t, config(), address...)
	numbers := map[uint32]bool{}
	for range 4 {
		c := f.dial()
		c.greet()
		numbers[c.greeting.ThreadID] = true
	}
	if len(numbers) != 4 || !numbers[7] {
		t.Errorf("the clients know the numbers %v", numbers)
	}
}

func TestParseKill(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"KILL 7": "KILL 7", "kill query 7;": "kill query 7", " \n/* x */ -- y\n kill hard connection 7 ": "kill hard connection 7",
		"# x\nkill 4294967295": "kill 4294967295", "KILL/* x */QUERY 7 /*traceparent='00-1-2-01'*/;": "KILL QUERY 7", "kill 7 -- x": "kill 7", "--\tx\nkill 7 # x\n": "kill 7",
		"kill 4294967296": "", "kill query id 7": "", "kill user joe": "", "kill": "", "kill 7 8": "", "killing 7": "", "kill connection_id()": "",
		"/*! kill 7 */": "", "/* kill 7": "", "kill 7 /* x": "", "kill /*! query */ 7": "", "--kill 7": "", "select 7": "", "": "",
	}
	for text, want := range tests {
		got := ""
		if k, ok := parseKill([]byte(text)); ok {
			got = fmt.Sprint(k.verb, " ", k.number)
			if !mayBeOurs([]byte(text)) {
				t.Errorf("%q is not looked at", text)
			}
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// TestProcessKillInPieces: COM_PROCESS_KILL for another server does not go to the session's own, in whatever pieces it comes.
func TestProcessKillInPieces(t *testing.T) {
	t.Parallel()
	for _, pieces := range []int{0, 1, 6} {
		s := newScene(t, config(), pieces)
		s.open()
		s.client = s.join() // whose server has given the same number
		s.feed(s.servers[1], hello(t, 0))
		if g, err := mysqlproto.ParseGreeting(s.next(s.client)); err != nil || g.ThreadID != 1<<31+1 {
			t.Fatalf("%+v, %v", g, err)
		}
		s.answer(s.client)
		s.next(s.servers[1])
		s.feed(s.servers[1], okPacket(2, mysqlproto.StatusAutocommit))
		s.next(s.client)
		s.feed(s.client, mysqlproto.AppendPacket(nil, 0, []byte{byte(mysqlproto.ComProcessKill), 1, 0, 0, 0x80}))
		if b := s.next(s.servers[1]); b != nil || len(s.servers) != 3 {
			t.Errorf("pieces of %d: the session's own connection gets %q, %d connections to servers", pieces, b, len(s.servers))
		}
	}
}
