package transform

import (
	"bytes"
	"io"
	"testing"
)

// FuzzCodings decodes what comes, within bounds, and reads back what it encodes.
func FuzzCodings(f *testing.F) {
	codings := []string{gzipped, deflated, brotlied, zstandard}
	for i, coding := range codings {
		f.Add(uint8(i), compressed([]byte(`{"a":1}`), coding))
	}
	f.Add(uint8(2), []byte{0x11})                                // brotli with a large window, which is none
	f.Add(uint8(3), []byte("\x28\xb5\x2f\xfd\x00\xff\x01\x00"))  // zstd with a window of 3.75 TiB
	f.Add(uint8(3), []byte("\x50\x2a\x4d\x18\x01\x00\x00\x00x")) // zstd that is to be skipped
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		coding := codings[int(which)%len(codings)]
		const most = 1 << 20
		d := &decoder{source: source{r: bytes.NewReader(data)}, coding: coding, take: func(n int64) error {
			if n <= 0 || n > mostWindow(coding) {
				t.Errorf("a window of %d bytes", n)
			}
			return nil
		}}
		_, _ = io.Copy(io.Discard, io.LimitReader(d, most)) // any error will do
		if coding == deflated {
			return // is not written
		}
		got, err := io.ReadAll(decoded(bytes.NewReader(compressed(data, coding)), coding))
		if err != nil || !bytes.Equal(data, got) {
			t.Errorf("%s: %q became %q: %v", coding, data, got, err)
		}
	})
}
