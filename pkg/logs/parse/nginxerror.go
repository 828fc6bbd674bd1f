package parse

import (
	"bytes"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
)

// nginxError reads nginx' error log:
//
//	2006/01/02 15:04:05 [error] 31#31: *1 open() "/x" failed (2: No such file or directory), client: 10.0.0.1, server: localhost, request: "GET /x HTTP/1.1", host: "localhost"
//
// Times there have no zone: they are taken for UTC, which containers have.
type nginxError struct {
	clock Clock
	// read-only after construction: names of attributes
	pid, tid, connection []byte
	context              [][2][]byte // what nginx calls it, what it is here
}

func newNginxError() *nginxError {
	p := &nginxError{
		clock: Clock{form: formRFC3339},
		pid:   []byte("process.pid"), tid: []byte("thread.id"), connection: []byte("nginx.connection"),
	}
	for _, names := range [][2]string{
		{", client: ", "client.address"},
		{", server: ", "nginx.server"},
		{", request: ", "nginx.request"},
		{", subrequest: ", "nginx.subrequest"},
		{", upstream: ", "nginx.upstream"},
		{", host: ", "nginx.host"},
		{", referrer: ", "http.request.header.referer"},
	} {
		p.context = append(p.context, [2][]byte{[]byte(names[0]), []byte(names[1])})
	}
	return p
}

// Parse implements Parser. The body is the message without what is an attribute.
func (p *nginxError) Parse(line []byte, r *record.Record) bool {
	const head = len("2006/01/02 15:04:05")
	if len(line) < head+2 || line[head] != ' ' || line[head+1] != '[' {
		return false
	}
	var ok bool
	if r.Timestamp, ok = p.clock.Parse(line[:head]); !ok {
		return false
	}
	level, rest, ok := bytesCut(line[head+2:], "] ")
	if !ok {
		return false
	}
	if r.Severity, r.SeverityText = record.SeverityOf(level), level; r.Severity == 0 {
		return false
	}
	process, rest, ok := bytesCut(rest, ": ")
	if !ok {
		return false
	}
	pid, tid, ok := cut(process, '#')
	if !ok || !whole(pid) || !whole(tid) {
		return false
	}
	r.Add(p.pid, pid, record.Literal)
	r.Add(p.tid, tid, record.Literal)
	if number, after, ok := cut(rest, ' '); ok && len(number) > 1 && number[0] == '*' && whole(number[1:]) {
		r.Add(p.connection, number[1:], record.Literal)
		rest = after
	}
	r.Body = record.Value{Bytes: p.attributes(rest, r)}
	return true
}

// whole reports whether it is a number of JSON without sign and fraction.
func whole(b []byte) bool {
	return len(b) > 0 && len(b) < 19 && digits(b, 0) == len(b) && (b[0] != '0' || len(b) == 1)
}

// attributes takes what nginx says of the request off the end of the message.
func (p *nginxError) attributes(message []byte, r *record.Record) []byte {
	for _, names := range slices.Backward(p.context) {
		at := bytes.LastIndex(message, names[0])
		if at < 0 {
			continue
		}
		value := message[at+len(names[0]):]
		if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
			value = value[1 : n-1]
		}
		r.Add(names[1], value, record.Text)
		message = message[:at]
	}
	return message
}
