package parse

import (
	"bytes"

	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
)

// Unwrapped is what a container runtime wrote for a part of an app's line.
type Unwrapped struct {
	Content   []byte
	Timestamp int64 // ns since 1970
	Stderr    bool
	Partial   bool // more of the line follows
}

// Runtime says how a container runtime wraps lines.
type Runtime uint8

// The runtimes.
const (
	NoRuntime Runtime = iota
	CRI               // "2016-10-06T00:17:09.669794202Z stdout F text"
	Docker            // {"log":"text\n","stream":"stdout","time":"..."}
)

// Unwrapper takes the runtime's part off.
type Unwrapper struct {
	runtime Runtime
	clock   Clock
	scratch []byte
}

// NewUnwrapper makes one.
func NewUnwrapper(r Runtime) *Unwrapper {
	return &Unwrapper{runtime: r, clock: Clock{form: formRFC3339}}
}

// Unwrap reads one line of the file. It reports false for a line that the runtime
// did not write. Content is valid until the next call.
func (u *Unwrapper) Unwrap(line []byte) (w Unwrapped, ok bool) {
	if u.runtime == Docker {
		return u.docker(line)
	}
	at, rest, ok1 := cut(line, ' ')
	stream, rest, ok2 := cut(rest, ' ')
	tag, content, ok3 := cut(rest, ' ')
	if !ok3 { // an empty line ends with its tag
		tag, content = rest, nil
	}
	if w.Timestamp, ok = u.clock.Parse(at); !ok || !ok1 || !ok2 {
		return w, false
	}
	if w.Stderr = string(stream) == "stderr"; !w.Stderr && string(stream) != "stdout" {
		return w, false
	}
	// Further tags may follow the first, with colons between them.
	first, _, _ := cut(tag, ':')
	if w.Partial = string(first) == "P"; !w.Partial && string(first) != "F" {
		return w, false
	}
	w.Content = content
	return w, true
}

// docker reads the json-file driver's lines, whose partial lines lack a line feed
// at the end.
func (u *Unwrapper) docker(line []byte) (w Unwrapped, ok bool) {
	var p dockerMembers
	if !p.read(bytes.TrimSpace(line)) || p.log == nil {
		return w, false
	}
	if w.Timestamp, ok = u.clock.Parse(p.time); !ok {
		return w, false
	}
	w.Stderr = string(p.stream) == "stderr"
	u.scratch = record.Unescape(u.scratch[:0], p.log)
	w.Content = bytes.TrimSuffix(u.scratch, []byte("\n"))
	w.Partial = len(w.Content) == len(u.scratch)
	w.Content = bytes.TrimSuffix(w.Content, []byte("\r"))
	return w, true
}

// dockerMembers are the insides of the strings.
type dockerMembers struct{ log, stream, time []byte }

func (p *dockerMembers) read(b []byte) bool {
	if len(b) < 2 || b[0] != '{' {
		return false
	}
	i := space(b, 1)
	for range maxMembers {
		keyEnd, _, ok := text(b, i)
		if !ok {
			return false
		}
		key := b[i+1 : keyEnd-1]
		if i = space(b, keyEnd); i >= len(b) || b[i] != ':' {
			return false
		}
		i = space(b, i+1)
		end, kind, ok := value(b, i, maxDepth)
		if !ok {
			return false
		}
		if kind == record.Escaped {
			p.keep(key, b[i+1:end-1])
		}
		if i = space(b, end); i >= len(b) || b[i] != ',' {
			return i == len(b)-1 && b[i] == '}'
		}
		i = space(b, i+1)
	}
	return false
}

func (p *dockerMembers) keep(key, inside []byte) {
	switch string(key) {
	case "log":
		p.log = inside
	case "stream":
		p.stream = inside
	case "time":
		p.time = inside
	}
}
