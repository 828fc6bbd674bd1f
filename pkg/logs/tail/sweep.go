package tail

import (
	"cmp"
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
	// mostMissing is how many of them are looked for at a time.
	mostMissing = 10_000
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
	var missing []entry
	for _, e := range t.positions.idle() {
		if t.nowhere(&e) {
			e.Missing += min(took, 2*sweepInterval)
			missing = append(missing, e)
		} else {
			t.positions.miss(e.Source, e.ID, 0)
		}
	}
	slices.SortFunc(missing, func(a, b entry) int { return cmp.Compare(a.Missing, b.Missing) })
	for i := range missing {
		e := &missing[i]
		if e.Missing < cleanAfter && i < mostMissing {
			t.positions.miss(e.Source, e.ID, e.Missing)
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
