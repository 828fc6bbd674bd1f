package bodies

import (
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// again is how soon a deadline is set once more, that the server may have moved.
const again = 100 * time.Millisecond

// Deadline ends the reading of a client's body.
type Deadline struct {
	control *http.ResponseController

	mu    sync.Mutex
	timer *time.Timer // nil: there is all the time; guarded by mu
	hit   bool        // guarded by mu
	over  bool        // the body has been read; guarded by mu
}

// NewDeadline ends the reading of the request that w answers after d; 0: never.
func NewDeadline(w http.ResponseWriter, d time.Duration) *Deadline {
	l := &Deadline{control: http.NewResponseController(w)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if d > 0 {
		l.timer = time.AfterFunc(d, l.fire)
	}
	return l
}

func (l *Deadline) fire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.hit = true
	_ = l.control.SetReadDeadline(time.Unix(1, 0)) // what has no deadlines has timeouts of its own
	l.timer.Reset(again)
}

// Passed tells whether the time is over.
func (l *Deadline) Passed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hit
}

// Stop says that the body has been read.
func (l *Deadline) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	if l.timer != nil {
		l.timer.Stop()
	}
}

// Reader reads a body until the time is over, and then gives
// os.ErrDeadlineExceeded, also if a little comes all the time.
func (l *Deadline) Reader(body io.Reader) io.Reader { return &timely{body, l} }

type timely struct {
	body io.Reader
	late *Deadline
}

// Read implements io.Reader.
func (t *timely) Read(p []byte) (int, error) {
	if t.late.Passed() {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := t.body.Read(p)
	if err != nil && err != io.EOF && t.late.Passed() {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}
