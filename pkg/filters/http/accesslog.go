package http

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// accessLog writes a line for each request.
type accessLog struct {
	conf *resource.AccessLog
	out  *logFile
}

// logFiles are the files that access logs are written to, each opened once.
type logFiles struct {
	mu   sync.Mutex
	open map[string]*logFile // by path; guarded by mu
}

// logFile is one of them.
type logFile struct {
	path  string
	users int // guarded by logFiles.mu

	mu sync.Mutex
	w  io.WriteCloser // guarded by mu
}

// get opens a file to append to, unless it is open already.
func (l *logFiles) get(path string) (*logFile, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f, ok := l.open[path]; ok {
		f.users++
		return f, nil
	}
	f := &logFile{path: path, users: 1}
	switch path {
	case "/dev/stdout":
		f.w = standard{os.Stdout}
	case "/dev/stderr":
		f.w = standard{os.Stderr}
	default:
		opened, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("opening an access log: %w", err)
		}
		f.w = opened
	}
	l.open[path] = f
	return f, nil
}

// standard is one of the process' own streams, which stay open.
type standard struct{ io.Writer }

// Close implements io.Closer.
func (standard) Close() error { return nil }

func (l *logFiles) put(f *logFile) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.users--; f.users == 0 {
		delete(l.open, f.path)
		_ = f.w.Close()
	}
}

func (f *logFile) write(line []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = f.w.Write(line) // there is no better place to say that it failed
}

// log writes the line of a request that is over.
func (l *accessLog) log(x *exchange) {
	response := x.writer.Header()
	if l.conf.JSON == nil {
		missing := "-"
		if l.conf.OmitEmpty {
			missing = ""
		}
		l.out.write([]byte(x.format(&l.conf.Text, response, missing)))
		return
	}
	line := []byte{'{'}
	for i := range l.conf.JSON {
		f := &l.conf.JSON[i]
		value := x.jsonValue(&f.Value, response)
		if value == nil && l.conf.OmitEmpty {
			continue
		}
		if len(line) > 1 {
			line = append(line, ',')
		}
		line = strconv.AppendQuote(line, f.Name)
		line = append(line, ':')
		if value == nil {
			value = []byte("null")
		}
		line = append(line, value...)
	}
	l.out.write(append(line, '}', '\n'))
}

// jsonValue is a number where a command alone gives one, as in Envoy; nil for
// what is not known.
func (x *exchange) jsonValue(f *resource.Format, h map[string][]string) []byte {
	if len(f.Parts) == 1 && f.Parts[0].Command != "" {
		v := x.command(&f.Parts[0], h)
		switch {
		case v == "":
			return nil
		case isNumber(f.Parts[0].Command):
			return []byte(v)
		}
		return quote(v)
	}
	return quote(x.format(f, h, "-"))
}

func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		return nil
	}
	return b
}

// isNumber says which commands give numbers.
func isNumber(command string) bool {
	switch command {
	case "RESPONSE_CODE", "BYTES_RECEIVED", "BYTES_SENT", "DURATION", "REQUEST_DURATION", "RESPONSE_DURATION",
		"RESPONSE_TX_DURATION", "UPSTREAM_REQUEST_ATTEMPT_COUNT", "DOWNSTREAM_LOCAL_PORT", "DOWNSTREAM_REMOTE_PORT":
		return true
	default:
		return false
	}
}
