package workqueue

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Folders beside the items, which are the plain files of the queue's own folder.
const (
	leasedFolder = ".leased" // NAME~ATTEMPT~ID; the file's time is when the lease runs out
	retryFolder  = ".retry"  // NAME~ATTEMPT; the file's time is when it may be tried again
	deadFolder   = ".dead"   // NAME, and NAME.reason
	doneFolder   = ".done"   // NAME
)

// Folder is a queue of files. All that happens to an item is one rename, which of
// several processes one does, and which a crash leaves done or not done.
type Folder struct {
	// Read-only after construction.
	root   *os.Root // names that lead out of the folder do not work
	policy Policy
	keep   bool

	mu      sync.Mutex // guards below
	waiting []string   // names that were seen, relative to dir; some may be gone
}

// FolderOptions of a Folder.
type FolderOptions struct {
	Policy Policy
	// Keep has items that are done kept in .done; else they are removed.
	Keep bool
}

// ErrName is an item whose name cannot be used.
var ErrName = errors.New("names of items have no / and no ~ and do not begin with a dot")

// OpenFolder makes a queue of a folder, which must exist.
func OpenFolder(dir string, o FolderOptions) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the queue: %w", err)
	}
	for _, sub := range []string{leasedFolder, retryFolder, deadFolder, doneFolder} {
		if err := root.Mkdir(sub, 0o770); err != nil && !errors.Is(err, fs.ErrExist) {
			_ = root.Close() // the first error counts
			return nil, fmt.Errorf("opening the queue: %w", err)
		}
	}
	return &Folder{root: root, policy: o.Policy.Defaults(), keep: o.Keep}, nil
}

// Close frees what the queue holds.
func (f *Folder) Close() error { return f.root.Close() }

func goodName(name string) bool {
	return name != "" && name[0] != '.' && !strings.ContainsAny(name, "/~\x00")
}

// each visits the files of a folder.
func (f *Folder) each(sub string, visit func(fs.DirEntry) error) error {
	entries, err := fs.ReadDir(f.root.FS(), cmp.Or(sub, "."))
	if err != nil {
		return fmt.Errorf("reading the queue: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() || sub == "" && !goodName(e.Name()) {
			continue
		}
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

// List implements Source.
func (f *Folder) List(_ context.Context, limit int) ([]string, error) {
	var out []string
	for _, sub := range []string{"", retryFolder, leasedFolder} {
		err := f.each(sub, func(e fs.DirEntry) error {
			name, _, _ := strings.Cut(e.Name(), "~")
			out = append(out, name)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(out)
	out = slices.Compact(out) // one may have moved meanwhile
	return out[:min(len(out), limit)], nil
}

// Get implements Source.
func (f *Folder) Get(_ context.Context, name string) (*Item, error) {
	if !goodName(name) {
		return nil, fmt.Errorf("%w: %q: %w", ErrNotFound, name, ErrName)
	}
	data, err := f.read(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return &Item{name, data}, err
	}
	for _, sub := range []string{retryFolder, leasedFolder} {
		var found *Item
		err := f.each(sub, func(e fs.DirEntry) error {
			if n, _, _ := strings.Cut(e.Name(), "~"); n != name || found != nil {
				return nil
			}
			data, err := f.read(filepath.Join(sub, e.Name()))
			if err == nil {
				found = &Item{name, data}
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		})
		if err != nil || found != nil {
			return found, err
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrNotFound, name)
}

var errTooLarge = fmt.Errorf("an item of more than %d bytes", MaxItem)

// read gives a bounded file.
func (f *Folder) read(path string) ([]byte, error) {
	file, err := f.root.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxItem+1))
	if err == nil && len(data) > MaxItem {
		err = fmt.Errorf("%s: %w", path, errTooLarge)
	}
	return data, err
}

// Lease implements Queue.
func (f *Folder) Lease(_ context.Context, _ string) (*Lease, error) {
	for looked := false; ; looked = true {
		for name := f.next(); name != ""; name = f.next() {
			lease, err := f.take(name)
			if lease != nil || err != nil {
				return lease, err
			}
		}
		if looked {
			break
		}
		if err := f.look(); err != nil {
			return nil, err
		}
	}
	busy := false
	for _, sub := range []string{leasedFolder, retryFolder} {
		if err := f.each(sub, func(fs.DirEntry) error { busy = true; return nil }); err != nil {
			return nil, err
		}
	}
	if busy {
		return nil, ErrEmpty
	}
	return nil, ErrDrained
}

func (f *Folder) next() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) == 0 {
		return ""
	}
	name := f.waiting[0]
	f.waiting = f.waiting[1:]
	return name
}

// look finds what is waiting, once leases that have run out are so, too. Each
// process begins elsewhere, so that they do not all try for the same.
func (f *Folder) look() error {
	now := time.Now()
	if err := f.each(leasedFolder, func(e fs.DirEntry) error { return f.expire(e, now) }); err != nil {
		return err
	}
	var found []string
	err := f.each(retryFolder, func(e fs.DirEntry) error {
		if info, err := e.Info(); err == nil && !info.ModTime().After(now) {
			found = append(found, filepath.Join(retryFolder, e.Name()))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := f.each("", func(e fs.DirEntry) error { found = append(found, e.Name()); return nil }); err != nil {
		return err
	}
	if len(found) > 1 {
		start := int(time.Now().UnixNano() % int64(len(found)))
		found = append(found[start:], found[:start]...)
	}
	f.mu.Lock()
	f.waiting = found
	f.mu.Unlock()
	return nil
}

// expire has an item whose lease has run out tried again.
func (f *Folder) expire(e fs.DirEntry, now time.Time) error {
	info, err := e.Info()
	if err != nil || info.ModTime().After(now) {
		return nil //nolint:nilerr // it has been settled meanwhile
	}
	_, err = f.again(e.Name(), "the worker vanished: its lease ran out")
	return err
}

// again puts a leased item back, or aside after the last attempt; false: it is
// not leased any more.
func (f *Folder) again(leased, reason string) (bool, error) {
	name, attempt, err := parse(leased)
	if err != nil {
		return false, err
	}
	from := filepath.Join(leasedFolder, leased)
	if attempt >= f.policy.Attempts {
		return f.move(from, filepath.Join(deadFolder, name), func() error {
			return f.root.WriteFile(filepath.Join(deadFolder, name+".reason"), []byte(reason+"\n"), 0o660)
		})
	}
	to := filepath.Join(retryFolder, name+"~"+strconv.Itoa(attempt))
	at := time.Now().Add(f.policy.after(attempt))
	return f.move(from, to, func() error { return f.root.Chtimes(to, at, at) })
}

// move renames a file and then does what else belongs to that; false: it is not
// there any more.
func (f *Folder) move(from, to string, then func() error) (bool, error) {
	err := f.root.Rename(from, to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("moving an item: %w", err)
	}
	if err := then(); err != nil && !errors.Is(err, fs.ErrNotExist) { // another may be on it already
		return true, fmt.Errorf("moving an item: %w", err)
	}
	return true, nil
}

// parse splits NAME~ATTEMPT or NAME~ATTEMPT~ID.
func parse(file string) (name string, attempt int, err error) {
	name, rest, _ := strings.Cut(file, "~")
	number, _, _ := strings.Cut(rest, "~")
	if attempt, err = strconv.Atoi(number); err != nil || name == "" {
		return "", 0, fmt.Errorf("the file %q is none of the queue's: remove it", file)
	}
	return name, attempt, nil
}

// take leases an item that was seen waiting; nil: another has it.
func (f *Folder) take(seen string) (*Lease, error) {
	name, attempt := seen, 1
	if sub, file := filepath.Split(seen); sub != "" {
		var before int
		var err error
		if name, before, err = parse(file); err != nil {
			return nil, err
		}
		attempt = before + 1
	}
	id := fmt.Sprintf("%s~%d~%s", name, attempt, rand.Text())
	// The time before the rename: a lease must never be seen with the item's own.
	expires := time.Now().Add(f.policy.Term)
	if err := f.root.Chtimes(seen, expires, expires); err != nil {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil //nolint:nilnil // as the comment says
		case errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("leasing %q: it belongs to another user, and only its owner may set its time: have workers run as the user who puts items there: %w", name, err)
		}
		return nil, fmt.Errorf("leasing %q: %w", name, err)
	}
	ok, err := f.move(seen, filepath.Join(leasedFolder, id), func() error { return nil })
	if !ok || err != nil {
		return nil, err
	}
	data, err := f.read(filepath.Join(leasedFolder, id))
	if err != nil {
		_, moved := f.again(id, err.Error())
		return nil, errors.Join(fmt.Errorf("reading %q: %w", name, err), moved)
	}
	return &Lease{Item: Item{name, data}, ID: id, Attempt: attempt, Expires: expires}, nil
}

// Settle implements Queue.
func (f *Folder) Settle(_ context.Context, id string, r Result) error {
	name, _, err := parse(id)
	if err != nil || !goodName(name) || strings.Contains(id, "/") {
		return fmt.Errorf("%w: %q is no lease", ErrLost, id)
	}
	from := filepath.Join(leasedFolder, id)
	ok := true
	switch r.Outcome {
	case Renewed:
		at := time.Now().Add(f.policy.Term)
		if err = f.root.Chtimes(from, at, at); errors.Is(err, fs.ErrNotExist) {
			ok, err = false, nil
		}
	case Done:
		to := filepath.Join(doneFolder, name)
		ok, err = f.move(from, to, func() error {
			if f.keep {
				return nil
			}
			return f.root.Remove(to)
		})
	case Failed:
		ok, err = f.again(id, r.Reason)
	}
	switch {
	case err != nil:
		return fmt.Errorf("settling %q: %w", name, err)
	case !ok:
		return fmt.Errorf("%w: %q", ErrLost, name)
	}
	return nil
}
