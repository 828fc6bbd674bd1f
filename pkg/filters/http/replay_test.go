package http

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
)

// pieces is a body without end, of which a read fills what it is given, up to most bytes.
type pieces struct{ reads, most int }

func (p *pieces) Read(b []byte) (int, error) {
	p.reads++
	b = b[:min(len(b), p.most)]
	for i := range b {
		b[i] = byte(p.reads)
	}
	return len(b), nil
}

func (*pieces) Close() error { return nil }

func replayOf(source io.Reader, keep bool) *replay {
	p := &passage{x: &exchange{}, clock: &clock{}, in: &http.Request{Body: io.NopCloser(source), ContentLength: 1 << 30}}
	b := &replay{p: p, keep: keep, source: p.in.Body}
	b.came.L = &b.mu
	p.body = b
	return b
}

// arrived is a body that is all there.
type arrived struct{ *bytes.Reader }

func (arrived) Pending() bool { return true }
func (arrived) Close() error  { return nil }

// TestReplayOfWhatIsThere: a small body that has arrived takes its size in memory, and nobody waits for it.
func TestReplayOfWhatIsThere(t *testing.T) {
	t.Parallel()
	const size = 100
	b := replayOf(nil, true)
	b.source, b.p.in.ContentLength = arrived{bytes.NewReader(make([]byte, size))}, size
	for range 2 {
		var r http.Request
		b.view(&r)
		if got, err := io.ReadAll(r.Body); len(got) != size || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if b.stop != nil || cap(b.kept) > 2*size {
		t.Errorf("waited: %v, room for %d bytes", b.stop != nil, cap(b.kept))
	}
}

// TestReplayFromTheBeginning: once it is decided that a request is tried again, the try before, which may still be sending, takes nothing away from
// the next one.
func TestReplayFromTheBeginning(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]bool{"kept": true, "as far as nothing is lost": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := replayOf(&pieces{most: 1000}, keep)
				read := func() []byte {
					var r http.Request
					b.view(&r)
					got := make([]byte, 1000)
					if _, err := io.ReadFull(r.Body, got); err != nil {
						t.Fatal(err)
					}
					return got
				}
				first := read()
				before := b.latest
				if !b.replayable() {
					t.Fatal("it is lost already")
				}
				ended := make(chan error, 1)
				go func() {
					_, err := io.CopyN(io.Discard, before, 1<<20)
					ended <- err
				}()
				synctest.Wait()
				if again := read(); !bytes.Equal(first, again) {
					t.Errorf("the second try sends %d..., the first has sent %d...", again[0], first[0])
				}
				if err := <-ended; err != errStale { //nolint:errorlint // the bare value
					t.Errorf("the first try ends with %v", err)
				}
			})
		})
	}
}

// TestReplayGoesOn: where no other try follows after all, the one that is under way gets the rest; and nothing more once the request is answered.
func TestReplayGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := replayOf(&pieces{most: 1000}, true)
		var r http.Request
		b.view(&r)
		got := make([]byte, 1000)
		_, _ = io.ReadFull(r.Body, got)
		b.replayable()
		b.settled()
		if _, err := io.ReadFull(r.Body, got); err != nil {
			t.Fatal(err)
		}
		b.close()
		if _, err := r.Body.Read(got); err != errStale { //nolint:errorlint // the bare value
			t.Errorf("after the answer: %v", err)
		}
	})
}

// TestReplayPieces: what is not kept is passed on in large pieces.
func TestReplayPieces(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]bool{"kept": true, "not kept": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := &pieces{most: 1 << 20}
			b := replayOf(source, keep)
			var r http.Request
			b.view(&r)
			const size = 4 << 20
			if _, err := io.CopyN(io.Discard, r.Body, size); err != nil {
				t.Fatal(err)
			}
			if most := size/copySize + 10; source.reads > most {
				t.Errorf("%d reads for %d bytes, want %d at most", source.reads, size, most)
			}
		})
	}
}
