package grpcjson

import (
	"errors"
	"io"
	"net/http"

	"github.com/dragoman-mesh/dragoman/pkg/bodies"
	"github.com/dragoman-mesh/dragoman/pkg/transform/pbjson"
)

// uploadChunk is how much of a body is read at once, in bytes. Of a body that is
// no JSON each becomes a message.
const uploadChunk = 32 << 10

// upload is a body of messages that are made of JSON while they are read.
type upload struct {
	f     *forward
	in    io.Reader
	split *pbjson.Splitter
	share bodies.Share
	chunk []byte
	ready []byte // messages that were not read yet
	sent  int    // of ready
	any   bool   // something was read
	err   error  // after ready
}

func (f *forward) upload(in io.Reader) *upload {
	return &upload{f: f, in: in, split: pbjson.NewSplitter(f.conf.MaxRequest), share: f.account.Share(), chunk: make([]byte, uploadChunk)}
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	for u.sent == len(u.ready) {
		if u.err != nil {
			return 0, u.err
		}
		u.ready, u.sent = emptied(u.ready), 0
		u.share.Set(u.split.Len())
		u.more()
		if !u.share.Set(u.split.Len() + len(u.ready)) {
			u.fail(errBudget)
		}
	}
	n := copy(p, u.ready[u.sent:])
	u.sent += n
	return n, nil
}

// Close implements io.Closer. The body is the server's to close.
func (*upload) Close() error { return nil }

// errBody ends a call whose request is wrong. What it is stands in forward.broken.
var errBody = errors.New("the body of the request is wrong")

// more reads a piece of the body.
func (u *upload) more() {
	n, err := u.in.Read(u.chunk)
	if u.f.call.RawRequest {
		u.raw(n, err)
		return
	}
	u.split.Feed(u.chunk[:n])
	for {
		value, bad := u.split.Next()
		if bad != nil {
			u.fail(bad)
			return
		}
		if value == nil {
			break
		}
		if !u.add(value) {
			return
		}
	}
	switch {
	case err == io.EOF:
		value, bad := u.split.End()
		if bad != nil {
			u.fail(bad)
			return
		}
		if value == nil || u.add(value) {
			u.err = io.EOF
		}
	case err != nil:
		u.err = err
	}
}

func (u *upload) add(value []byte) bool {
	before := len(u.ready)
	var ready []byte
	var p *problem
	if err := inTurn(u.f.in.Context(), u.f.budget, len(value), func() error {
		ready, p = u.f.message(u.ready, value)
		return nil
	}); err != nil {
		u.fail(err)
		return false
	}
	if p != nil {
		u.ready = u.ready[:before]
		u.f.broken.Store(p)
		u.err = errBody
		return false
	}
	u.ready = ready
	return true
}

func (u *upload) fail(err error) {
	u.err = errBody
	switch {
	case errors.Is(err, pbjson.ErrLarge):
		u.f.broken.Store(tooLarge(u.f.conf.MaxRequest))
		return
	case errors.Is(err, errBudget), errors.Is(err, errGone):
		u.f.broken.Store(unreadable(err))
		return
	}
	p := newProblem(http.StatusBadRequest, reasonRequest, "body: "+err.Error())
	p.Errors = []wrong{{In: "body", Detail: err.Error()}}
	u.f.broken.Store(p)
}

// raw makes a message of a piece of a body. The first says what path and query
// say, even if there is no body.
func (u *upload) raw(n int, err error) {
	if n > 0 || err == io.EOF && !u.any { //nolint:errorlint // as readers give it
		u.ready, _ = u.f.message(u.ready, u.chunk[:n])
		u.f.call.Next()
		u.any = true
	}
	u.err = err
}
