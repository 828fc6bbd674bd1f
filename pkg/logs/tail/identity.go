package tail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/cespare/xxhash/v2"
)

// ID is what a file keeps when it is renamed.
type ID struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

// printBytes is how much of a file's beginning says which file it is.
const printBytes = 1024

// Print is a fingerprint: a hash of the first bytes. A file that has grown since
// still has them.
type Print struct {
	Length int    `json:"length"` // of what is hashed, bytes
	Hash   uint64 `json:"hash,string"`
}

// errIrregular is for what is no file to follow.
var errIrregular = errors.New("is not a regular file")

func idOf(info os.FileInfo) (ID, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return ID{}, errIrregular
	}
	return ID{Device: st.Dev, Inode: st.Ino}, nil
}

// unlinked reports whether a file has no name any more.
func unlinked(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}

// open opens a file for following. It never blocks, whatever is at the path.
func open(path string) (*os.File, os.FileInfo, ID, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, ID{}, err
	}
	info, err := f.Stat()
	if err == nil {
		var id ID
		if id, err = idOf(info); err == nil {
			return f, info, id, nil
		}
	}
	_ = f.Close() // it was only looked at
	return nil, nil, ID{}, fmt.Errorf("opening %q: %w", path, err)
}

// printer reads fingerprints.
type printer struct{ buf [printBytes]byte }

// head reads the beginning of a file.
func (p *printer) head(f io.ReaderAt) ([]byte, error) {
	n, err := f.ReadAt(p.buf[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return p.buf[:n], nil
}

func (p *printer) of(f io.ReaderAt) (Print, error) {
	head, err := p.head(f)
	return Print{Length: len(head), Hash: xxhash.Sum64(head)}, err
}

// fits reports whether a file may be the one that had the fingerprint, and gives
// the one that it has now.
func (p *printer) fits(f io.ReaderAt, was Print) (now Print, same bool, err error) {
	head, err := p.head(f)
	if err != nil {
		return was, false, err
	}
	if len(head) < was.Length || was.Length > 0 && xxhash.Sum64(head[:was.Length]) != was.Hash {
		return Print{Length: len(head), Hash: xxhash.Sum64(head)}, false, nil
	}
	if len(head) == was.Length {
		return was, true, nil
	}
	return Print{Length: len(head), Hash: xxhash.Sum64(head)}, true, nil
}
