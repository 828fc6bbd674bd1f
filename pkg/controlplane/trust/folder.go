package trust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Files in a Folder: what proxies are to trust, and what nobody else may read.
const (
	BundleFile    = "ca.crt"
	authorityFile = "authority.json"
)

// maxKept bounds one file, in bytes.
const maxKept = 1 << 20

// Folder is a Store for a control plane without Kubernetes. The keys are in one
// file, so that they are replaced at once, with the mode 0600.
type Folder struct{ dir string }

// NewFolder returns the store in a folder, which is made if it is not there.
func NewFolder(dir string) *Folder { return &Folder{dir} }

// Load implements Store.
func (f *Folder) Load(context.Context) (map[string][]byte, string, error) {
	name := filepath.Join(f.dir, authorityFile)
	text, err := readBounded(name, maxKept)
	if err != nil {
		return nil, "", err
	}
	var kept map[string]string
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, "", fmt.Errorf("%s: %w: it is not JSON", name, ErrKept) // the cause could quote it
	}
	data := make(map[string][]byte, len(kept))
	for k, v := range kept {
		data[k] = []byte(v)
	}
	return data, versionOf(text), nil
}

func readBounded(name string, most int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: larger than %d bytes", name, most)
	}
	return b, err
}

func versionOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Save implements Store.
func (f *Folder) Save(ctx context.Context, data map[string][]byte, version string) error {
	kept := make(map[string]string, len(data))
	for k, v := range data {
		kept[k] = string(v)
	}
	text, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return err
	}
	if err := f.make(); err != nil {
		return err
	}
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	_, now, err := f.Load(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if now != version {
		return fmt.Errorf("%s: changed meanwhile: %w", f.dir, fs.ErrExist)
	}
	return replace(filepath.Join(f.dir, authorityFile), text, 0o600)
}

func (f *Folder) make() error {
	return os.MkdirAll(f.dir, 0o755) //nolint:gosec // the bundle in it is for all
}

// lock keeps other processes from writing.
func (f *Folder) lock() (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(f.dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		_ = file.Close() // the first error counts
		return nil, fmt.Errorf("locking %s: %w", f.dir, err)
	}
	return func() { _ = file.Close() }, nil // which unlocks
}

// Publish implements Store.
func (f *Folder) Publish(_ context.Context, bundle []byte) error {
	if err := f.make(); err != nil {
		return err
	}
	return replace(filepath.Join(f.dir, BundleFile), bundle, 0o644)
}

// replace writes a file so that a reader sees all of it or the former one.
func replace(path string, data []byte, mode fs.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // gone already if all went well
	_, err = file.Write(data)
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.Rename(file.Name(), path)
}
