package sqlprobe

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// FuzzAnswers: what is read of a row is the same after it was written again, and
// whatever else arrives is an error and no more.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte{2, 'o', 'k', 0xfb, 0xfc, 1, 0, 'x'})
	f.Add([]byte{0, 1, 0, 0, 0, 2, 'o', 'k'})
	f.Add([]byte{0, 1, 'n', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		described(b)
		if row, err := values(b); err == nil {
			var again []byte
			for _, v := range row {
				again = append(append(again, 0xfd, byte(len(v)), byte(len(v)>>8), byte(len(v)>>16)), v...)
			}
			if second, err := values(again); err != nil || !slices.Equal(row, second) {
				t.Errorf("MySQL: %q, then %q, %v", row, second, err)
			}
		}
		row, err := columns(b)
		if err != nil {
			return
		}
		again := binary.BigEndian.AppendUint16(nil, uint16(len(row)))
		for _, v := range row {
			again = append(binary.BigEndian.AppendUint32(again, uint32(len(v))), v...)
		}
		if second, err := columns(again); err != nil || !slices.Equal(row, second) {
			t.Errorf("PostgreSQL: %q, then %q, %v", row, second, err)
		}
	})
}

// TestLongTexts: the status of a server has texts of more than 250 bytes.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	row, err := values(append(append([]byte{1, 'a', 0xfc, 300 & 0xff, 300 >> 8}, long...), 0xfb))
	if err != nil || !slices.Equal(row, []string{"a", long, ""}) {
		t.Errorf("got %q, %v", row, err)
	}
	names := described(bytes.Join([][]byte{{0, 2}, []byte("one\x00"), make([]byte, 18), []byte("two\x00"), make([]byte, 18)}, nil))
	if !slices.Equal(names, []string{"one", "two"}) {
		t.Errorf("columns %q", names)
	}
}
