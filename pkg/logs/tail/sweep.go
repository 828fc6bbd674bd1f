package tail

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"
)

const (
	sweepInterval = time.Hour
	// cleanAfter is for how long a file is looked for in vain before its position is
	// forgotten: a volume may be away for days, and its files are not to come again.
	cleanAfter = 7 * 24 * time.Hour
)

// sweep forgets files that nobody will find again: not at their path, nor under
// another name beside it. What counts is the time in which they were looked for, not
// that in which nobody looked, nor what a clock has jumped.
func (t *Tailer) sweep(now time.Time) {
	if t.swept.IsZero() {
		t.swept = now
	}
	took := now.Sub(t.swept)
	if took < sweepInterval {
		return
	}
	t.swept = now
	for _, e := range t.positions.idle() {
		missing := time.Duration(0)
		if t.nowhere(&e) {
			missing = e.Missing + min(took, 2*sweepInterval)
		}
		if missing < cleanAfter {
			t.positions.miss(e.Source, e.ID, missing)
			continue
		}
		t.log.Debug("a file that is gone is forgotten", "file", e.Path, "source", e.Source)
		t.lost(e.Source, Gone, e.Size-e.Offset)
		t.positions.drop(e.Source, e.ID)
	}
}

// nowhere reports whether a file is neither at its path nor beside that.
func (t *Tailer) nowhere(e *entry) bool {
	if _, err := os.Stat(e.Path); !errors.Is(err, fs.ErrNotExist) {
		return false // what is there is looked at in its turn
	}
	return !slices.ContainsFunc(t.beside(e.Path), func(c candidate) bool { return c.id == e.ID })
}
