package redis

import (
	"math"
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// command is what the filter knows of one Redis command: its entry in the
// generated table and the handler that routes it.
type command struct {
	spec      *redisproto.Spec // nil for commands that the table does not know
	name      string
	id        int  // index into the statistics
	key       int  // argument index of the key of a single-key command, else 0
	readOnly  bool // a replica may answer it
	write     bool
	noAuth    bool
	blocking  bool
	container bool // has subcommands
	patterns  bool // makes keys of patterns
	streams   bool // may be sent on before it has arrived whole
	foreign   bool // it is no command but a line of HTTP
	split     splitter
	handle    handler
}

// handler routes one request. It returns false if the request cannot be taken
// yet: the same bytes are shown again when the client is resumed.
type handler func(c *client, r *request) bool

// request is one command while it is being routed. It is the worker's scratch
// memory: nothing of it may be kept.
type request struct {
	*command
	cmd   *redisproto.Command
	frame []byte           // as it came; see raw
	sub   *redisproto.Spec // the subcommand of a container; nil if there is none, or it is unknown
}

// take makes r stand for one request, or for the beginning of one.
func (r *request) take(w *worker, cmd *redisproto.Command, frame []byte) {
	r.cmd, r.frame, r.sub = cmd, frame, nil
	r.command = w.lookup(cmd.Arg(frame, 0))
	if r.command == nil {
		r.command = w.b.commands.other
	}
	if r.container && len(cmd.Args) > 1 {
		r.sub = r.spec.Subcommand(cmd.Arg(frame, 1))
	}
}

// effective is the entry of the table that describes r: the subcommand's where
// there is one. It is nil for unknown commands.
func (r *request) effective() *redisproto.Spec {
	if r.sub != nil {
		return r.sub
	}
	return r.spec
}

// fullName is the name that error messages give, as in "config|get".
func (r *request) fullName() string {
	switch {
	case r.sub != nil:
		return r.sub.Name
	case r.spec == nil:
		return string(r.arg(0)[:min(len(r.arg(0)), 128)])
	}
	return r.name
}

// arityOK is true for unknown commands.
func (r *request) arityOK() bool {
	spec := r.effective()
	return spec == nil || spec.ArityOK(r.argc())
}

func (r *request) argc() int        { return len(r.cmd.Args) }
func (r *request) arg(i int) []byte { return r.cmd.Arg(r.frame, i) }

// is reports whether argument i is word, which must be in lower case.
func (r *request) is(i int, word string) bool {
	return i < r.argc() && equalFold(r.arg(i), word)
}

// raw is the request in the form that is sent upstream.
func (r *request) raw(w *worker) []byte {
	if !r.cmd.Inline() {
		return r.frame
	}
	w.inline = r.cmd.AppendTo(w.inline[:0], r.frame)
	return w.inline
}

// commandTable maps lower-case names to commands. It is built once and read-only.
type commandTable struct {
	byName map[string]*command
	all    []*command // by id
	other  *command   // stands in the statistics for names that are not in the table
}

func newCommandTable() *commandTable {
	t := &commandTable{byName: map[string]*command{}}
	special := specialHandlers()
	for spec := range redisproto.Commands() {
		if strings.Contains(spec.Name, "|") {
			continue
		}
		t.add(newCommand(spec, special))
	}
	t.other = &command{name: "unknown", write: true, handle: handleUnknown}
	t.add(t.other)
	for _, name := range []string{"post", "host:"} { // a request that says POST, and one that says anything
		t.byName[name] = &command{spec: &redisproto.Spec{Name: name, Arity: never}, name: name, foreign: true}
	}
	return t
}

// never is a number of arguments that no request has.
const never = math.MaxInt32

func (t *commandTable) add(c *command) {
	c.id = len(t.all)
	t.all = append(t.all, c)
	t.byName[c.name] = c
}

func newCommand(spec *redisproto.Spec, special map[string]handler) *command {
	c := &command{
		spec:      spec,
		name:      spec.Name,
		key:       spec.FirstKeyIndex(),
		readOnly:  spec.Has(redisproto.ReadOnly) && !slices.Contains(primaryOnly(), spec.Name),
		write:     mayWrite(spec),
		noAuth:    spec.Has(redisproto.NoAuth),
		blocking:  spec.Has(redisproto.Blocking),
		container: len(spec.Sub) > 0,
		patterns:  spec.SortsByPattern(),
		split:     splitterOf(spec.Name),
	}
	c.streams = !c.blocking && (special[spec.Name] == nil || slices.Contains(streamedSpecials(), spec.Name))
	switch h := special[spec.Name]; {
	case h != nil:
		c.handle = h
	case c.split.step > 0:
		c.handle = handleSplit
	case c.blocking:
		c.handle = handleBlocking
	case c.key > 0:
		c.handle = handleSingleKey
	case c.container:
		c.handle = handleContainer
	case len(spec.KeySpecs) > 0:
		c.handle = handleKeys
	case spec.RequestPolicy != "":
		c.handle = handleFanOut
	default:
		c.handle = handleKeyless
	}
	return c
}

// primaryOnly are commands that only read, but not on just any replica: a
// cursor is good only where it was given, and some change what the table does
// not count as data.
func primaryOnly() []string {
	return []string{
		"scan", "hscan", "sscan", "zscan", "touch", "bf.scandump", "cf.scandump", "cf.compact",
		"ft.cursor", "ft.config", "search.clusterset", "timeseries.clusterset",
	}
}

// mayWrite reports whether a command can change data. Scripts can, unless they
// are declared not to.
func mayWrite(spec *redisproto.Spec) bool {
	return spec.Has(redisproto.Write) || slices.Contains([]string{"eval", "evalsha", "fcall"}, spec.Name)
}

// streamedSpecials are the commands with a handler of their own that only
// finds out the shard.
func streamedSpecials() []string {
	return []string{
		"publish", "eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro", "script", "function",
	}
}

// specialHandlers are the commands whose class the table cannot tell.
func specialHandlers() map[string]handler {
	local := map[string]handler{
		"ping": handlePing, "echo": handleEcho, "time": handleTime,
		"auth": handleAuth, "hello": handleHello, "select": handleSelect,
		"quit": handleQuit, "reset": handleReset, "client": handleClient,
		"asking": handleClusterMode, "readonly": handleClusterMode, "readwrite": handleClusterMode,
		"multi": handleMulti, "exec": handleExecWithoutMulti, "discard": handleDiscardWithoutMulti,
		"watch": handleWatch, "unwatch": handleUnwatch,
		"subscribe": handleSubscribe, "psubscribe": handleSubscribe, "ssubscribe": handleSubscribe,
		"unsubscribe": handleSubscribe, "punsubscribe": handleSubscribe, "sunsubscribe": handleSubscribe,
		"publish": handlePublish, "spublish": handlePublish, "pubsub": handlePubSub,
		"scan": handleScan, "wait": handleWait, "waitaof": handleWait,
		"randomkey": handleRandomKey, "keys": handleFanOut,
		"xread": handleStreamRead, "xreadgroup": handleStreamRead,
		"eval": handleScript, "evalsha": handleScript, "eval_ro": handleScript, "evalsha_ro": handleScript,
		"fcall": handleScript, "fcall_ro": handleScript,
		"monitor": handleMonitor, "sync": handlePipe, "psync": handlePipe, "replconf": handlePipe,
		"acl": handleACL, "cluster": handleCluster,
	}
	for _, name := range []string{"bgsave", "bgrewriteaof", "lastsave", "save", "swapdb"} {
		local[name] = handleFanOut
	}
	return local
}

// lookup finds a command by its name as the client wrote it; nil if unknown.
func (t *commandTable) lookup(name []byte) *command {
	var buf [32]byte
	if len(name) > len(buf) {
		return nil
	}
	for i, ch := range name {
		if ch >= 'A' && ch <= 'Z' {
			ch += 'a' - 'A'
		}
		buf[i] = ch
	}
	return t.byName[string(buf[:len(name)])]
}

// equalFold compares without regard to ASCII case; word is in lower case.
func equalFold(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, ch := range b {
		if ch >= 'A' && ch <= 'Z' {
			ch += 'a' - 'A'
		}
		if ch != word[i] {
			return false
		}
	}
	return true
}

// allowedWhileSubscribed are the commands that a RESP2 client may send while
// it is subscribed (Redis: processCommand).
func allowedWhileSubscribed(name string) bool {
	return slices.Contains([]string{
		"subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe",
		"sunsubscribe", "ping", "quit", "reset",
	}, name)
}
