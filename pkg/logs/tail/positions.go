package tail

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Positions is how far each file has been delivered, in memory and in a file.
// Its methods may be called from any goroutine.
type Positions struct {
	// read-only after construction
	path string
	log  *slog.Logger

	mu      sync.Mutex
	entries map[entryKey]*entry  // guarded by mu
	sources map[string]time.Time // when each was last looked at; guarded by mu
	dirty   bool                 // guarded by mu: something is not in the file

	saving sync.Mutex // held by Save
}

type entryKey struct {
	source string
	id     ID
}

// entry is one file of a source. Its fields are guarded by Positions.mu.
type entry struct {
	Source string `json:"source"`
	// Path is where the source found the file first: of a rotated one, where its
	// successor is.
	Path string `json:"path"`
	ID
	Print Print `json:"fingerprint"`
	// Offset of the first byte that has not been delivered.
	Offset int64 `json:"offset"`
	// Size when the file was last looked at.
	Size int64 `json:"size"`
	// Seen is when the path was last looked at.
	Seen time.Time `json:"seen"`
	// Missing is for how long the file was looked for in vain.
	Missing time.Duration `json:"missing,omitempty"`

	active bool
	// copy is where a truncated file's content is now: what is delivered of the one
	// is delivered of the other.
	copy *entry
}

// file is what the file of positions holds.
type positionsFile struct {
	Version int      `json:"version"`
	Files   []*entry `json:"files"`
	// Sources says when each was last looked at.
	Sources map[string]time.Time `json:"sources"`
}

const (
	positionsVersion = 1
	maxPositions     = 64 << 20 // bytes
)

// ErrCorrupt is wrapped by what LoadPositions says of a file that is none of
// positions. The positions are usable then, and empty.
var ErrCorrupt = errors.New("the file of positions is damaged")

// LoadPositions reads the positions of a file, which need not be there yet. A
// damaged one is put aside, as path.corrupt.
func LoadPositions(path string, log *slog.Logger) (*Positions, error) {
	p := &Positions{path: path, log: log, entries: map[entryKey]*entry{}, sources: map[string]time.Time{}}
	data, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("reading positions: %w", err)
	}
	var f positionsFile
	err = json.Unmarshal(data, &f)
	if err == nil && f.Version != positionsVersion {
		err = fmt.Errorf("it has version %d, not %d", f.Version, positionsVersion)
	}
	if err != nil {
		err = fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
		if aside := os.Rename(path, path+".corrupt"); aside != nil {
			err = errors.Join(err, aside)
		}
		return p, err
	}
	maps.Copy(p.sources, f.Sources)
	for _, e := range f.Files {
		if e != nil && e.Offset >= 0 && e.Print.Length >= 0 && e.Print.Length <= printBytes {
			p.entries[entryKey{e.Source, e.ID}] = e
		}
	}
	return p, nil
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxPositions {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxPositions)
	}
	return os.ReadFile(path)
}

// Save writes what has changed, if anything has: all of it or nothing, whatever
// happens meanwhile.
func (p *Positions) Save() error {
	p.saving.Lock()
	defer p.saving.Unlock()
	data, err := p.encode()
	if data == nil || err != nil {
		return err
	}
	if err := writeAtomically(p.path, data); err != nil {
		p.mu.Lock()
		p.dirty = true
		p.mu.Unlock()
		return fmt.Errorf("saving positions: %w", err)
	}
	return nil
}

// encode gives nil when nothing has changed.
func (p *Positions) encode() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dirty {
		return nil, nil
	}
	f := positionsFile{Version: positionsVersion, Files: make([]*entry, 0, len(p.entries)), Sources: p.sources}
	for _, e := range p.entries {
		f.Files = append(f.Files, e)
	}
	data, err := json.Marshal(&f)
	p.dirty = err != nil
	return data, err
}

// writeAtomically replaces a file. The old one is there until the new one is whole
// on disk.
func writeAtomically(path string, data []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(path+".new"))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Mark is how far a file has been read, to be told when all before it has been
// delivered.
type Mark struct {
	entry  *entry
	offset int64
}

// Delivered advances positions; marks come in the order in which they were made.
func (p *Positions) Delivered(marks []Mark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range marks {
		for e := m.entry; e != nil; e = e.copy {
			if m.offset > e.Offset {
				e.Offset, p.dirty = m.offset, true
			}
		}
	}
}

// Lag is how many bytes of each source's files have not been delivered.
func (p *Positions) Lag() map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	lag := map[string]int64{}
	for _, e := range p.entries {
		if e.active {
			lag[e.Source] += max(e.Size-e.Offset, 0)
		}
	}
	return lag
}

// Forget drops the files of sources that are there no more.
func (p *Positions) Forget(keep func(source string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.entries {
		if !keep(k.source) {
			delete(p.entries, k)
			p.dirty = true
		}
	}
	maps.DeleteFunc(p.sources, func(name string, _ time.Time) bool { return !keep(name) })
}

// lookedAt says when a source was last looked at; zero: never.
func (p *Positions) lookedAt(source string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sources[source]
}

// lookAt notes that a source was looked at.
func (p *Positions) lookAt(source string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dirty = p.dirty || p.sources[source].IsZero()
	p.sources[source] = at
}

// find gives a copy of what is known of a file.
func (p *Positions) find(source string, id ID) (entry, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.entries[entryKey{source, id}]
	if !ok {
		return entry{}, false
	}
	return *e, true
}

// of gives copies of what is known of a path's files.
func (p *Positions) of(source, path string) []entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []entry
	for _, e := range p.entries {
		if e.Source == source && e.Path == path {
			list = append(list, *e)
		}
	}
	return list
}

// idle gives copies of what is known of files that are not followed.
func (p *Positions) idle() []entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []entry
	for _, e := range p.entries {
		if !e.active {
			list = append(list, *e)
		}
	}
	return list
}

// miss notes for how long a file that is not followed has been missing.
func (p *Positions) miss(source string, id ID, missing time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.entries[entryKey{source, id}]; e != nil && e.Missing != missing {
		e.Missing, p.dirty = missing, true
	}
}

// put makes an entry, in the place of any other of the same file.
func (p *Positions) put(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.active = true
	p.entries[entryKey{e.Source, e.ID}] = e
	p.dirty = true
}

// see notes what a look at a file has shown.
func (p *Positions) see(e *entry, head Print, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dirty = p.dirty || e.Print != head
	e.Print, e.Size = head, size
}

// grew notes a size, for who asks how much there is to do.
func (p *Positions) grew(e *entry, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.Size = max(e.Size, size)
}

// look notes when a path was looked at, for what is followed there.
func (p *Positions) look(segments []*Segment, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range segments {
		s.entry.Seen = at
	}
}

// delivered is the offset of the first byte that has not been.
func (p *Positions) delivered(e *entry) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return e.Offset
}

// follow makes one entry go with another, from where that is.
func (p *Positions) follow(from, to *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	from.copy = to
	to.Offset, p.dirty = from.Offset, true
}

// leave says that a file is not followed any more; forget: nor ever will be.
func (p *Positions) leave(e *entry, forget bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.active = false
	if forget && p.entries[entryKey{e.Source, e.ID}] == e {
		delete(p.entries, entryKey{e.Source, e.ID})
		p.dirty = true
	}
}

// drop forgets a file that is not followed.
func (p *Positions) drop(source string, id ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.entries, entryKey{source, id})
	p.dirty = true
}
