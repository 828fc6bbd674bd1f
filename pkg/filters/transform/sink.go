package transform

import (
	"net/http"
	"sync/atomic"
)

// sink sends records to the client as they are made, and the head before the
// first of them.
type sink struct {
	w     http.ResponseWriter
	head  func()
	begun atomic.Bool
	n     int
}

func (s *sink) begin() {
	if !s.begun.Swap(true) {
		s.head()
	}
}

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	s.begin()
	n, err := s.w.Write(p)
	s.n += n
	if err == nil {
		err = http.NewResponseController(s.w).Flush()
	}
	return n, err
}
