// Package watch tells when files or folders have changed.
//
// What counts is what a path leads to in the end, so a ConfigMap's swap of its
// ..data link is one change. Notifications of the kernel only cause another
// look, and where there are none (a network file system, no watches left) a
// slow poll finds the change all the same.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Options of a Watcher; a zero value is replaced by the default.
type Options struct {
	Debounce time.Duration // quiet time after a notification before looking; 100 ms
	Poll     time.Duration // between looks without a notification; 10 s
	Log      *slog.Logger
}

// Watcher calls back when what its paths lead to has changed.
type Watcher struct {
	opts     Options
	onChange func()

	mu    sync.Mutex
	paths []string          // guarded by mu
	seen  map[string]string // path to fingerprint, guarded by mu
	kick  chan struct{}
}

// New makes a watcher of paths, which need not exist. onChange is called from
// Run, one call at a time; what is there when New returns is not a change.
func New(paths []string, o Options, onChange func()) *Watcher {
	if o.Debounce <= 0 {
		o.Debounce = 100 * time.Millisecond
	}
	if o.Poll <= 0 {
		o.Poll = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{opts: o, onChange: onChange, kick: make(chan struct{}, 1)}
	w.SetPaths(paths)
	return w
}

// SetPaths replaces the paths. What is behind new ones is not a change.
func (w *Watcher) SetPaths(paths []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.seen
	w.paths = slices.Clone(paths)
	w.seen = make(map[string]string, len(paths))
	for _, p := range paths {
		if f, ok := old[p]; ok {
			w.seen[p] = f
			continue
		}
		w.seen[p] = fingerprint(p)
	}
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// Run watches until ctx is done.
func (w *Watcher) Run(ctx context.Context) {
	n := w.openNotifier()
	defer n.close()
	poll := time.NewTicker(w.opts.Poll)
	defer poll.Stop()
	quiet := time.NewTimer(0)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.events():
			quiet.Reset(w.opts.Debounce)
		case err := <-n.errors():
			w.opts.Log.Warn("file notifications lost, looking again", "error", err)
			quiet.Reset(w.opts.Debounce)
		case <-w.kick:
			n.follow(w.folders())
			quiet.Reset(w.opts.Debounce)
		case <-poll.C:
			w.look(n)
		case <-quiet.C:
			w.look(n)
		}
	}
}

func (w *Watcher) look(n *notifier) {
	if !w.changed() {
		return
	}
	n.follow(w.folders())
	w.onChange()
}

func (w *Watcher) changed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := false
	for _, p := range w.paths {
		if f := fingerprint(p); f != w.seen[p] {
			w.seen[p] = f
			changed = true
		}
	}
	return changed
}

// folders lists what has to be watched: the folders in which the paths and
// everything on the way to their targets stand.
func (w *Watcher) folders() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var dirs []string
	for _, p := range w.paths {
		p = absolute(p)
		dirs = append(dirs, existing(filepath.Dir(p)))
		target, err := filepath.EvalSymlinks(p)
		if err != nil {
			continue
		}
		if info, err := os.Stat(target); err == nil && info.IsDir() {
			dirs = append(dirs, p, target)
			for _, f := range configFiles(target) {
				if file, err := filepath.EvalSymlinks(f); err == nil {
					dirs = append(dirs, filepath.Dir(file))
				}
			}
			continue
		}
		dirs = append(dirs, filepath.Dir(target))
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

func absolute(p string) string {
	if abs, err := filepath.Abs(p); err == nil {
		return abs
	}
	return p
}

// existing is dir or the nearest folder above that is there.
func existing(dir string) string {
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return dir
		}
		dir = up
	}
}

// fingerprint changes whenever what a path leads to may have changed.
func fingerprint(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "absent"
	}
	if !info.IsDir() {
		return fileFingerprint(path, info)
	}
	var b strings.Builder
	for _, f := range configFiles(path) {
		if info, err := os.Stat(f); err == nil {
			b.WriteString(fileFingerprint(f, info) + "\n")
		}
	}
	return b.String()
}

func fileFingerprint(path string, info fs.FileInfo) string {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		target = path
	}
	return fmt.Sprint(target, info.Size(), info.ModTime().UnixNano(), inode(info))
}

// configFiles lists a folder's documents; empty when it cannot be read.
func configFiles(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var files []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		switch filepath.Ext(e.Name()) {
		case ".yaml", ".yml", ".json":
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files // ReadDir sorts
}

// ErrNoDocuments is returned by Expand for a folder without a document.
var ErrNoDocuments = errors.New("no *.yaml, *.yml or *.json file in the folder")

// Expand replaces folders by the documents in them: *.yaml, *.yml and *.json,
// sorted, folders within and hidden files left out.
func Expand(paths []string) ([]string, error) {
	var files []string
	var errs []error
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !info.IsDir() {
			files = append(files, p)
			continue
		}
		inside := configFiles(p)
		if len(inside) == 0 {
			errs = append(errs, fmt.Errorf("%s: %w", p, ErrNoDocuments))
		}
		for _, f := range inside {
			if info, err := os.Stat(f); err != nil || !info.IsDir() {
				files = append(files, f)
			}
		}
	}
	return files, errors.Join(errs...)
}

// maxDocument bounds one document, in bytes.
const maxDocument = 16 << 20

// Read returns a document, unless it is too large.
func Read(name string) ([]byte, error) {
	f, err := os.Open(name) // the name is the operator's
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err == nil && len(data) > maxDocument {
		err = fmt.Errorf("%s: larger than %d bytes", name, maxDocument)
	}
	return data, err
}

// notifier is fsnotify, or nothing where it does not work.
type notifier struct {
	fs   *fsnotify.Watcher
	dirs map[string]bool
	log  *slog.Logger
}

func (w *Watcher) openNotifier() *notifier {
	n := &notifier{dirs: map[string]bool{}, log: w.opts.Log}
	fsw, err := fsnotify.NewWatcher()
	if err != nil {
		n.log.Warn("no file notifications, polling only", "error", err, "interval", w.opts.Poll)
		return n
	}
	n.fs = fsw
	n.follow(w.folders())
	return n
}

func (n *notifier) events() <-chan fsnotify.Event {
	if n.fs == nil {
		return nil
	}
	return n.fs.Events
}

func (n *notifier) errors() <-chan error {
	if n.fs == nil {
		return nil
	}
	return n.fs.Errors
}

// follow watches exactly dirs. Folders are added anew even when their name is
// known: another one may stand there now.
func (n *notifier) follow(dirs []string) {
	if n.fs == nil {
		return
	}
	for dir := range n.dirs {
		if !slices.Contains(dirs, dir) {
			_ = n.fs.Remove(dir) // gone already, mostly
			delete(n.dirs, dir)
		}
	}
	for _, dir := range dirs {
		if err := n.fs.Add(dir); err != nil {
			n.log.Debug("folder is not watched, only polled", "folder", dir, "error", err)
			continue
		}
		n.dirs[dir] = true
	}
}

func (n *notifier) close() {
	if n.fs != nil {
		_ = n.fs.Close()
	}
}
