package gather

import (
	"net/http"
)

// recorder keeps one leaf's answer, within bounds.
type recorder struct {
	header http.Header
	status int
	body   []byte
	limit  int64
	large  bool // the body has more bytes
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter. Informational answers are not
// kept.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
}

// Write implements io.Writer. Of a body beyond the limit nothing is kept; the
// error ends the branch.
func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	if int64(len(r.body)+len(p)) > r.limit {
		r.large, r.body = true, nil
		return 0, errTooLarge
	}
	r.body = append(r.body, p...)
	return len(p), nil
}
