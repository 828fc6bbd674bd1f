package redis

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// The files of testdata/transcripts say what passes between clients, the filter
// and servers. Above the script are words for the reader and settings; a line
// of the script is
//
//	c > GET a1           client c sends a request
//	s1 < GET a1          the server of shard 1 gets it, over its first connection
//	s1 > $1 x            and replies; a space stands for CRLF, quotes for bytes as they are,
//	                     {x*9} for nine of them
//	c < $1 x             the client gets that
//	c <                  the client has nothing to read
//	c end, s1 end        the client, the server hangs up
//	c closed, s1 closed  the filter has closed the connection
//	wait 5s              time passes
//	down s1              the server cannot be reached from now on
//
// s1.2 is the second connection to that server, and so on. A key lives on the
// shard that its last digit says. Each script is run many times: with all that
// is sent cut in two at every place, and byte by byte.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/transcripts/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	table := newCommandTable()
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(archive.Files) != 1 || archive.Files[0].Name != "script" {
				t.Fatal("the archive has to have one file, script")
			}
			steps := strings.Split(strings.TrimSpace(string(archive.Files[0].Data)), "\n")
			whole := newStage(table, string(archive.Comment))
			if err := whole.run(t, steps); err != nil {
				t.Fatal(err)
			}
			bytewise := newStage(table, string(archive.Comment))
			bytewise.bytewise = true
			if err := bytewise.run(t, steps); err != nil {
				t.Fatalf("byte by byte: %v", err)
			}
			for i, sent := range whole.sent {
				for cut := 1; cut < sent; cut += max(1, sent/400*10) {
					s := newStage(table, string(archive.Comment))
					s.cutStep, s.cut = i, cut
					if err := s.run(t, steps); err != nil {
						t.Fatalf("line %d cut after %d bytes: %v", i+1, cut, err)
					}
				}
			}
		})
	}
}

// stage is one run of a transcript.
type stage struct {
	table    *commandTable
	settings string
	bytewise bool // everything arrives byte by byte
	cutStep  int  // what this step sends arrives in two pieces,
	cut      int  // the first of so many bytes
	sent     map[int]int

	loop   *netloop.Loop
	filter *Filter
	conns  map[string]*netloop.Conn
	heard  map[string]string // what arrived and was not yet looked at
	dials  map[string]int
	down   map[string]bool
}

// lastDigit places keys by their last digit.
type lastDigit struct{}

func (lastDigit) Pick(key []byte) int { return int(key[len(key)-1] - '1') }

// setting is the value of a line "name: value" above the script.
func (s *stage) setting(name string) string {
	for line := range strings.Lines(s.settings) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+": "); ok {
			return value
		}
	}
	return ""
}

func (s *stage) build(t *testing.T) {
	n, _ := strconv.Atoi(s.setting("shards"))
	var list []filters.Shard
	for i := range max(n, 1) {
		name := fmt.Sprintf("s%d", i+1)
		list = append(list, filters.Shard{Name: name, Primary: endpointOf("10.0.0.1:"+name, name)})
		if s.setting("replicas") != "" {
			list[i].Replicas = []*filters.Endpoint{endpointOf("10.0.0.1:r"+name[1:], name)}
		}
	}
	main := clusterOf("main", list...)
	table := main.Table()
	table.Picker = lastDigit{}
	if s.setting("slots") != "" {
		table.Slots = new([redisproto.Slots]int32)
		for slot := range table.Slots {
			table.Slots[slot] = int32(slot * len(list) / redisproto.Slots)
		}
	}
	cfg := defaults()
	cfg.OpTimeout = time.Second
	if password := s.setting("password"); password != "" {
		cfg.Users = []resource.User{{Name: "default", Passwords: []resource.SecretKey{{Name: password}}}}
	}
	if s.setting("replicas") != "" {
		cfg.ReadPolicy = resource.ReadReplica
	}
	s.loop = netloop.NewTestLoop()
	builder := &Builder{log: slog.New(slog.DiscardHandler), commands: s.table, workers: map[*netloop.Loop]*worker{}}
	all := clusters{"main": main}
	network, err := builder.Build(cfg, filters.Context{
		Listener: "test", Clusters: all, Secrets: all, Loops: func() []*netloop.Loop { return []*netloop.Loop{s.loop} },
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.filter = network.(*Filter)
	s.loop.OnDial = s.dialled
}

// dialled names a connection after its server.
func (s *stage) dialled(c *netloop.Conn, _, addr string) {
	name := strings.TrimPrefix(addr, "10.0.0.1:")
	if s.down[name] {
		c.FailDial(errors.New("connection refused"))
		return
	}
	s.dials[name]++
	if n := s.dials[name]; n > 1 {
		name = fmt.Sprintf("%s.%d", name, n)
	}
	s.conns[name] = c
}

// newStage is a stage on which everything arrives as it is sent.
func newStage(table *commandTable, settings string) *stage {
	return &stage{
		table: table, settings: settings, cutStep: -1,
		sent: map[int]int{}, heard: map[string]string{}, conns: map[string]*netloop.Conn{},
		dials: map[string]int{}, down: map[string]bool{},
	}
}

func (s *stage) run(t *testing.T, steps []string) error {
	s.build(t)
	for i, step := range steps {
		if step == "" || step[0] == '#' {
			continue
		}
		if err := s.step(i, step); err != nil {
			return fmt.Errorf("line %d: %s: %w", i+1, step, err)
		}
	}
	for name := range s.conns {
		if rest := s.listen(name); rest != "" {
			return fmt.Errorf("%s has not looked at %q", name, rest)
		}
	}
	return s.filter.b.worker(s.loop).check()
}

// play runs lines of a script on a stage that is built.
func (s *stage) play(t *testing.T, lines ...string) {
	t.Helper()
	for i, line := range lines {
		if err := s.step(i, line); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

func (s *stage) step(i int, line string) error {
	who, rest, _ := strings.Cut(line, " ")
	verb, text, _ := strings.Cut(rest, " ")
	switch who {
	case "wait":
		d, err := time.ParseDuration(rest)
		s.loop.Advance(d)
		return err
	case "down":
		s.down[rest] = true
		return nil
	}
	if s.conns[who] == nil && (who[0] == 'c' || who[0] == 'd') {
		conn := s.loop.Pipe(nil, netloop.Downstream)
		conn.SetDriver(s.filter.Accept(conn))
		s.conns[who] = conn
	}
	conn := s.conns[who]
	if conn == nil {
		return errors.New("there is no such connection")
	}
	switch verb {
	case ">":
		s.send(i, conn, wire(text))
	case "<":
		return s.expect(who, wire(text))
	case "end":
		conn.FeedEOF()
		s.loop.Turn()
	case "closed":
		if s.loop.Turn(); conn.Connected() {
			return errors.New("it is open")
		}
	default:
		return errors.New("this means nothing")
	}
	return nil
}

func (s *stage) send(i int, conn *netloop.Conn, b []byte) {
	s.sent[i] = len(b)
	pieces := [][]byte{b}
	switch {
	case s.bytewise:
		pieces = slices.Collect(slices.Chunk(b, 1+len(b)/2000))
	case i == s.cutStep:
		pieces = [][]byte{b[:s.cut], b[s.cut:]}
	}
	for _, p := range pieces {
		conn.Feed(p)
		s.loop.Turn()
	}
}

func (s *stage) listen(who string) string {
	s.loop.Turn()
	s.heard[who] += string(s.conns[who].TakeOutput())
	return s.heard[who]
}

func (s *stage) expect(who string, want []byte) error {
	got := s.listen(who)
	if len(want) == 0 && got != "" {
		return fmt.Errorf("got %q", got)
	}
	rest, ok := strings.CutPrefix(got, string(want))
	if !ok {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	s.heard[who] = rest
	return nil
}

var repeated = regexp.MustCompile(`\{.\*\d+\}`)

// wire is the bytes that a line stands for: requests for those that a client
// sends or a server gets, else replies.
func wire(text string) []byte {
	text = repeated.ReplaceAllStringFunc(text, func(m string) string {
		n, _ := strconv.Atoi(m[3 : len(m)-1])
		return strings.Repeat(m[1:2], n)
	})
	kind, _, _ := strings.Cut(text, " ")
	switch {
	case text == "":
		return nil
	case text[0] == '"':
		raw, err := strconv.Unquote(text)
		if err != nil {
			return []byte(err.Error())
		}
		return []byte(raw)
	case strings.ContainsRune("+-:$*%~>_,#(=!|", rune(kind[0])):
		return []byte(strings.ReplaceAll(text, " ", "\r\n") + "\r\n")
	default:
		return redisproto.AppendCommand(nil, words(text)...)
	}
}
