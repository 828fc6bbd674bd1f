package parse

import (
	"bytes"

	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
)

// combined reads nginx' and Apache's format combined, and common:
//
//	$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"
//
// What follows is kept as the attribute nginx.extra. Attributes have the names of
// OpenTelemetry's conventions.
type combined struct {
	clock Clock
	// read-only after construction: names of attributes
	client, user, method, target, protocol, status, size, referer, agent, extra []byte
}

func newCombined() *combined {
	return &combined{
		clock:  Clock{form: formCLF},
		client: []byte("client.address"), user: []byte("user.name"),
		method: []byte("http.request.method"), target: []byte("url.original"), protocol: []byte("network.protocol.version"),
		status: []byte("http.response.status_code"), size: []byte("http.response.body.size"),
		referer: []byte("http.request.header.referer"), agent: []byte("user_agent.original"), extra: []byte("nginx.extra"),
	}
}

// Parse implements Parser. The body is the line.
func (p *combined) Parse(line []byte, r *record.Record) bool {
	r.Body = record.Value{Bytes: line}
	client, rest, ok := cut(line, ' ')
	if !ok || len(client) == 0 {
		return false
	}
	who, rest, ok := bytesCut(rest, " [")
	if !ok {
		return false
	}
	at, rest, ok := bytesCut(rest, `] "`)
	if !ok {
		return false
	}
	if r.Timestamp, ok = p.clock.Parse(at); !ok {
		return false
	}
	r.Add(p.client, client, record.Text)
	if _, user, ok := cut(who, ' '); ok && string(user) != "-" {
		r.Add(p.user, user, record.Text)
	}
	request, rest, ok := quotedEnd(rest)
	if !ok {
		return false
	}
	p.request(r, request)
	return p.answer(r, bytes.TrimPrefix(rest, []byte(" ")))
}

// request takes "GET /path HTTP/1.1" apart; what is none, as of a client that
// spoke TLS to a plain port, is shown as it is.
func (p *combined) request(r *record.Record, request []byte) {
	method, rest, ok := cut(request, ' ')
	last := bytes.LastIndexByte(rest, ' ')
	if !ok || last < 0 {
		r.Add(p.target, request, record.Text)
		return
	}
	r.Add(p.method, method, record.Text)
	r.Add(p.target, rest[:last], record.Text)
	r.Add(p.protocol, bytes.TrimPrefix(rest[last+1:], []byte("HTTP/")), record.Text)
}

// answer reads from the status on.
func (p *combined) answer(r *record.Record, b []byte) bool {
	status, rest, _ := cut(b, ' ')
	if len(status) != 3 || digits(status, 0) != 3 || status[0] == '0' {
		return false
	}
	r.Add(p.status, status, record.Literal)
	switch status[0] {
	case '5':
		r.Severity = record.Error
	case '4':
		r.Severity = record.Warn
	default:
		r.Severity = record.Info
	}
	size, rest, more := cut(rest, ' ')
	if string(size) != "-" {
		if end, ok := number(size, 0); !ok || end != len(size) {
			return false
		}
		r.Add(p.size, size, record.Literal)
	}
	if !more {
		return true
	}
	for _, key := range [...][]byte{p.referer, p.agent} {
		if len(rest) == 0 || rest[0] != '"' {
			break
		}
		var text []byte
		var ok bool
		if text, rest, ok = quotedEnd(rest[1:]); !ok {
			return false
		}
		rest = bytes.TrimPrefix(rest, []byte(" "))
		if string(text) != "-" {
			r.Add(key, text, record.Text)
		}
	}
	if len(rest) > 0 {
		r.Add(p.extra, rest, record.Text)
	}
	return true
}

// cut is bytes.Cut for one byte.
func cut(b []byte, c byte) (before, after []byte, ok bool) {
	if i := bytes.IndexByte(b, c); i >= 0 {
		return b[:i], b[i+1:], true
	}
	return b, nil, false
}

func bytesCut(b []byte, sep string) (before, after []byte, ok bool) {
	i := bytes.IndexByte(b, sep[0])
	for i >= 0 && i+len(sep) <= len(b) {
		if string(b[i:i+len(sep)]) == sep {
			return b[:i], b[i+len(sep):], true
		}
		next := bytes.IndexByte(b[i+1:], sep[0])
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return b, nil, false
}

// quotedEnd cuts at the quote that ends a value. nginx writes quotes in it as
// \x22, Apache as \".
func quotedEnd(b []byte) (inside, after []byte, ok bool) {
	for i := 0; ; i++ {
		next := bytes.IndexByte(b[i:], '"')
		if next < 0 {
			return nil, nil, false
		}
		i += next
		if slashes(b[:i])%2 == 0 {
			return b[:i], b[i+1:], true
		}
	}
}

// slashes counts the backslashes at the end.
func slashes(b []byte) int {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n
}
