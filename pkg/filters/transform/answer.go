package transform

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/soap"
)

// deliver changes the body that is held, and sends it.
func (w *responseWriter) deliver() {
	h := w.x.w.Header()
	if len(w.held) == 0 && !w.emptyList() { // of which nobody could know before
		w.send(w.mapped(w.status))
		return
	}
	out, contentType, err := w.changed(h.Get("Content-Type"))
	if f, ok := errors.AsType[*soap.Fault](err); ok {
		w.fault(f)
		return
	}
	if err != nil {
		if !errors.Is(err, errClientGone) {
			w.refuse(response, bodyRefusal(err, true))
		}
		return
	}
	if w.body != nil {
		w.write(w.mapped(w.status), out, contentType)
		return
	}
	w.send(w.mapped(w.status))
	_, _ = w.x.w.Write(w.held) // a client that is gone needs no answer
}

// changed gives the body as the client gets it.
func (w *responseWriter) changed(contentType string) (out []byte, to string, err error) {
	body := w.held
	if w.coding != identity {
		if body, err = w.x.readDecoded(bytes.NewReader(body), w.coding, 4<<10, int64(w.x.filter.conf.MaxBodyBytes)); err != nil {
			return nil, "", err
		}
	}
	if w.schema != nil {
		if err := w.x.check(w.schema, body, contentType, true); err != nil {
			return nil, "", err
		}
	}
	if w.body == nil {
		return body, "", nil
	}
	p := w.x.program(w.body)
	out, err = w.x.apply(response, w.body, p, body, contentType)
	if err != nil {
		return nil, "", err
	}
	return out, mediaType(w.body, p, out, contentType), nil
}

// write sends a body that was made.
func (w *responseWriter) write(status int, body []byte, contentType string) {
	h := w.x.w.Header()
	drop(h)
	weaken(h)
	h.Set("Content-Type", contentType)
	if w.coding != "" && w.coding != identity {
		h.Add("Vary", "Accept-Encoding")
		if coding := answered(w.x.in.Header, w.coding); coding != identity {
			body = compressed(body, coding)
			h.Set("Content-Encoding", coding)
		}
	}
	if !trailing(h) { // which need chunks
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.send(status)
	_, _ = w.x.w.Write(body) // a client that is gone needs no answer
}

// trailing tells whether there are trailers.
func trailing(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// weaken says that the body is as good as the one that a tag is for, and not the
// same byte for byte.
func weaken(h http.Header) {
	if tag := h.Get("Etag"); strings.HasPrefix(tag, `"`) {
		h.Set("Etag", "W/"+tag)
	}
}

// fault answers with what a fault of the app says.
func (w *responseWriter) fault(f *soap.Fault) {
	status := f.Status()
	if w.status >= 400 && w.status != http.StatusInternalServerError {
		status = w.status // SOAP's own binding says 500 of all
	}
	status = w.mapped(status)
	conf := w.x.conf.Response
	for _, code := range []string{f.Code, f.Code + "." + f.Subcode} {
		if to, ok := conf.Faults[code]; ok {
			status = to
		}
	}
	body, err := w.body.Program.AppendFault(nil, f)
	if err != nil {
		w.refuse(response, bodyRefusal(err, true))
		return
	}
	w.write(status, body, w.body.Program.ContentType(body))
}
