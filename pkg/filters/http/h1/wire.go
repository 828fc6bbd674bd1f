package h1

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

// What follows is the part of the protocol without connections: both engines,
// that of goroutines and that of event loops, write and judge by it.

// FillHeader adds fields to h. values is memory for the map's slices, which is
// used from its beginning; it is returned, grown if need be, for the next message
// in a header that has been cleared by then.
func FillHeader(h http.Header, values []string, fields []httpproto.Field) []string {
	if cap(values) < len(fields) {
		values = make([]string, max(len(fields), 16)) // one piece of memory for all
	}
	values = values[:cap(values)]
	for i := range fields {
		f := &fields[i]
		name := http.CanonicalHeaderKey(f.Name)
		if old, ok := h[name]; ok {
			h[name] = append(old, f.Value)
			continue
		}
		values[i] = f.Value
		h[name] = values[i : i+1 : i+1]
	}
	return values
}

// headerOf makes a map of fields.
func headerOf(fields []httpproto.Field) http.Header {
	h := make(http.Header, len(fields))
	FillHeader(h, make([]string, len(fields)), fields)
	return h
}

// AppendRequest writes the head of a request whose hop-by-hop fields are gone
// already. length is that of the body, negative for one in chunks.
func AppendRequest(b []byte, method, target, host string, h http.Header, length int64) []byte {
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, '\r', '\n')
	for name, values := range h {
		for _, v := range values {
			b = httpproto.AppendField(b, name, v)
		}
	}
	switch {
	case length > 0 || length == 0 && mayHaveBody(method):
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, length, 10)
		b = append(b, '\r', '\n')
	case length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	return append(b, '\r', '\n')
}

// mayHaveBody says of which methods an empty body is to be told.
func mayHaveBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// ResponseHead is what precedes the body of a response to a client.
type ResponseHead struct {
	Status   int
	Header   http.Header
	Chunked  bool // Content-Length does not stand
	Trailers bool // may be announced
	Close    bool // the connection ends
	Old      bool // the client speaks 1.0
}

// Append writes the head, with a Date where there is none.
func (r *ResponseHead) Append(b []byte) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = appendStatus(b, r.Status)
	b = r.appendFields(b)
	if r.Header["Date"] == nil {
		b = append(b, "Date: "...)
		b = append(b, Date()...)
		b = append(b, '\r', '\n')
	}
	if r.Chunked {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	switch {
	case r.Close:
		b = append(b, "Connection: close\r\n"...)
	case r.Old:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	return append(b, '\r', '\n')
}

// AppendInterim writes a 1xx response.
func AppendInterim(b []byte, status int, h http.Header) []byte {
	r := ResponseHead{Status: status, Header: h, Chunked: true} // that is, no length
	b = append(b, "HTTP/1.1 "...)
	b = appendStatus(b, status)
	b = r.appendFields(b)
	return append(b, '\r', '\n')
}

// Continue is the whole of "100 Continue".
const Continue = "HTTP/1.1 100 Continue\r\n\r\n"

// appendFields writes the header but for what is the connection's own.
func (r *ResponseHead) appendFields(b []byte) []byte {
	for name, values := range r.Header {
		switch name {
		case "Connection", "Transfer-Encoding", "Keep-Alive":
			continue
		case "Content-Length":
			if r.Chunked {
				continue
			}
		case "Trailer":
			if !r.Trailers {
				continue
			}
		}
		if strings.HasPrefix(name, http.TrailerPrefix) || !httpproto.Token(name) {
			continue
		}
		for _, v := range values {
			if httpproto.ValidValue(v) {
				b = httpproto.AppendField(b, name, v)
			}
		}
	}
	return b
}

// Silent says that the response to a method has no body, whatever its head says.
func Silent(method string, status int) bool {
	return method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
}

// DeclaredLength takes the length that a header declares, -1 for none; one that
// is no length is taken out.
func DeclaredLength(h http.Header) int64 {
	given := h["Content-Length"]
	if len(given) != 1 {
		return -1
	}
	n, err := strconv.ParseInt(given[0], 10, 64)
	if err != nil || n < 0 {
		delete(h, "Content-Length")
		return -1
	}
	return n
}

// Closes says that a response's header asks for the end of the connection.
func Closes(h http.Header) bool {
	return h["Connection"] != nil && strings.EqualFold(h.Get("Connection"), "close")
}

// LateTrailers lists the trailers that a response's header has by now; nil for
// none.
func LateTrailers(h http.Header) http.Header {
	var t http.Header
	add := func(name string, values []string) {
		if len(values) > 0 {
			if t == nil {
				t = http.Header{}
			}
			t[name] = values
		}
	}
	for name, values := range h {
		if late, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			add(http.CanonicalHeaderKey(late), values)
		}
	}
	for _, list := range h["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			add(name, h[name])
		}
	}
	return t
}

// AppendEnd writes the last chunk, with the trailer section.
func AppendEnd(b []byte, trailer http.Header) []byte {
	b = append(b, "0\r\n"...)
	for name, values := range trailer {
		for _, v := range values {
			if !ForbiddenTrailer(name) && httpproto.Token(name) && httpproto.ValidValue(v) {
				b = httpproto.AppendField(b, name, v)
			}
		}
	}
	return append(b, '\r', '\n')
}

// TrailerOf makes a header of the fields of a trailer section, without those that
// must not come late.
func TrailerOf(fields []httpproto.Field) http.Header {
	t := make(http.Header, len(fields))
	for _, f := range fields {
		if name := http.CanonicalHeaderKey(f.Name); !ForbiddenTrailer(name) {
			t[name] = append(t[name], f.Value)
		}
	}
	return t
}

// AnnouncedTrailers has the names that a header announces, without values, as
// HTTP/2 needs them.
func AnnouncedTrailers(h http.Header) http.Header {
	t := http.Header{}
	for _, list := range h["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); httpproto.Token(name) && !ForbiddenTrailer(name) {
				t[name] = nil
			}
		}
	}
	return t
}

// ForbiddenTrailer names what must not come late: framing, routing and
// authentication, RFC 9110 section 6.5.1.
func ForbiddenTrailer(name string) bool {
	switch name {
	case "Content-Length", "Transfer-Encoding", "Trailer", "Host", "Connection", "Upgrade", "Te", "Authorization",
		"Content-Encoding", "Content-Type", "Content-Range", "Set-Cookie", "Cookie":
		return true
	default:
		return false
	}
}

// RefusalStatus is what is answered to what is no request; 0 for another error.
func RefusalStatus(err error) int {
	switch {
	case errors.Is(err, httpproto.ErrTooLarge), errors.Is(err, httpproto.ErrTooMany):
		return http.StatusRequestHeaderFieldsTooLarge
	case errors.Is(err, httpproto.ErrEncoding):
		return http.StatusNotImplemented
	case errors.Is(err, httpproto.ErrVersion):
		return http.StatusHTTPVersionNotSupported
	case errors.Is(err, httpproto.ErrMalformed):
		return http.StatusBadRequest
	}
	return 0
}

// AppendRefusal writes the answer to what is no request.
func AppendRefusal(b []byte, status int) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = appendStatus(b, status)
	return append(b, "Content-Length: 0\r\nConnection: close\r\n\r\n"...)
}

// WorthReading says that what is left of a request's body is read, so that its
// connection can go on, when the request was answered early. left is negative
// where nobody knows.
func WorthReading(left int64) bool { return left >= 0 && left <= Leftover }

// Leftover is how much of a body is read so that its connection can go on.
const Leftover = 64 << 10
