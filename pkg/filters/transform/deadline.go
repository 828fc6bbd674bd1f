package transform

import (
	"net/http"
	"sync"
	"time"
)

// again is how soon a deadline is set once more, that the server may have moved.
const again = 100 * time.Millisecond

// deadline ends the reading of a client's body.
type deadline struct {
	control *http.ResponseController

	mu    sync.Mutex
	timer *time.Timer // guarded by mu
	hit   bool        // guarded by mu
	over  bool        // the body has been read; guarded by mu
}

func newDeadline(w http.ResponseWriter, d time.Duration) *deadline {
	l := &deadline{control: http.NewResponseController(w)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(d, l.fire)
	return l
}

func (l *deadline) fire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.hit = true
	_ = l.control.SetReadDeadline(time.Unix(1, 0)) // what has no deadlines has timeouts of its own
	l.timer.Reset(again)
}

// passed tells whether the time is over.
func (l *deadline) passed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hit
}

// stop says that the body has been read.
func (l *deadline) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.timer.Stop()
}
