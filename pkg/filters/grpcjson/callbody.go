package grpcjson

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"google.golang.org/grpc/codes"

	"github.com/dragoman-mesh/dragoman/pkg/bodies"
	"github.com/dragoman-mesh/dragoman/pkg/transform/pbjson"
	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// callBody is a body that is made of a call's stream of messages while they come:
// a list of JSON, NDJSON, or the pieces of what is no JSON.
type callBody struct {
	v       *reverse
	frames  frames
	share   bodies.Share
	binding *transcode.Binding
	list    bool
	chunk   []byte
	count   int    // of messages
	ready   []byte // that was not read yet
	sent    int    // of ready
	err     error  // after ready

	failure atomic.Pointer[failure] // why the call is wrong; nil: it is not, as far as it has come
}

// failure is how a call has ended, and its kind.
type failure struct {
	outcome
	why reason
}

// stream begins to read a call's messages. The first says where they go.
func (v *reverse) stream() (*transcode.HTTPRequest, *failure) {
	b := &callBody{
		v: v, share: v.account.Share(), frames: frames{max: v.conf.MaxRequest, share: v.account.Share(), encoding: v.in.Header.Get("Grpc-Encoding")},
		list: v.conf.Stream == resource.StreamArray, chunk: make([]byte, uploadChunk),
	}
	var first [][]byte
	for len(first) == 0 && b.err == nil {
		if err := b.read(func(m []byte) error {
			first = append(first, bytes.Clone(m))
			return nil
		}); err != nil {
			return nil, wrongCall(err)
		}
	}
	var wire []byte // of a stream without messages: an empty one finds the way
	if len(first) > 0 {
		wire = first[0]
	}
	q, err := v.first(wire)
	if err != nil {
		return nil, wrongCall(err)
	}
	b.binding = q.Binding
	if len(first) > 0 {
		b.add(q.Body)
		q.Body, first = nil, first[1:]
		if !b.share.Set(len(b.ready)) {
			return nil, wrongCall(errBudget)
		}
	}
	for _, m := range first {
		if err := b.message(m); err != nil {
			return nil, wrongCall(err)
		}
	}
	if b.err == io.EOF { //nolint:errorlint // as read leaves it
		b.close()
	}
	if !q.Binding.RawRequest && !b.list {
		q.ContentType = "application/x-ndjson"
	}
	v.body = b
	return q, nil
}

// wrongCall says how a call ends whose messages are wrong.
func wrongCall(err error) *failure {
	f := &failure{outcome{message: err.Error(), code: codes.InvalidArgument}, reasonRequest}
	switch {
	case errors.Is(err, errTooLarge), errors.Is(err, pbjson.ErrLarge):
		f.code, f.why = codes.ResourceExhausted, reasonLarge
	case errors.Is(err, errBudget):
		f.code, f.why = codes.Unavailable, reasonBudget
	case errors.Is(err, errFraming):
		f.code = codes.Internal
	case errors.Is(err, errUnread):
		f.code = codes.Unavailable
	}
	return f
}

var errUnread = errors.New("the request cannot be read")

// read reads a piece of the call. What ends it is left in err.
func (b *callBody) read(each func([]byte) error) error {
	n, err := b.v.in.Body.Read(b.chunk)
	if bad := b.frames.feed(b.chunk[:n], each); bad != nil {
		return bad
	}
	switch {
	case err == io.EOF:
		b.err = err
		return b.frames.end()
	case err != nil:
		return errUnread
	}
	return nil
}

// message adds what a message is in the body. What else is in it has been said by
// the first one.
func (b *callBody) message(wire []byte) error {
	return inTurn(b.v.in.Context(), b.v.budget, len(wire), func() error {
		body, err := b.binding.Body(wire, b.v.conf.Print)
		if err != nil {
			return err
		}
		b.add(body)
		if !b.share.Set(len(b.ready)) {
			return errBudget
		}
		return nil
	})
}

func (b *callBody) add(body []byte) {
	switch {
	case b.binding.RawRequest:
		b.ready = append(b.ready, body...)
	case !b.list:
		b.ready = append(append(b.ready, body...), '\n')
	case b.count == 0:
		b.ready = append(append(b.ready, '['), body...)
	default:
		b.ready = append(append(b.ready, ','), body...)
	}
	b.count++
	b.v.counters.taken.Inc()
}

// close ends the body.
func (b *callBody) close() {
	switch {
	case b.binding.RawRequest || !b.list:
	case b.count == 0:
		b.ready = append(b.ready, "[]"...)
	default:
		b.ready = append(b.ready, ']')
	}
}

// Read implements io.Reader.
func (b *callBody) Read(p []byte) (int, error) {
	for b.sent == len(b.ready) {
		if b.err != nil {
			return 0, b.err
		}
		b.ready, b.sent = emptied(b.ready), 0
		b.share.Set(0)
		if err := b.read(b.message); err != nil {
			b.failure.Store(wrongCall(err))
			b.err = errBody
		} else if b.err != nil {
			b.close()
		}
	}
	n := copy(p, b.ready[b.sent:])
	b.sent += n
	return n, nil
}

// Close implements io.Closer. The body is the server's to close.
func (*callBody) Close() error { return nil }

// put makes the body that of a request.
func (b *callBody) put(r *http.Request) { r.Body, r.ContentLength = b, -1 }

// broken is why the call is wrong; nil: it is not, or its messages do not stream.
func (v *reverse) broken() *failure {
	if v.body == nil {
		return nil
	}
	return v.body.failure.Load()
}
