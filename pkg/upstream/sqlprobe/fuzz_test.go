package sqlprobe

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// FuzzRows: a row survives being written and read again, and bytes that are none
// are refused.
func FuzzRows(f *testing.F) {
	f.Add([]byte("f\x00off\x00000000010000000000000001\x000/1"))
	f.Add([]byte{0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0xfb, 1, '0'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if row, err := columns(b); err == nil && len(row) > len(b)/4 {
			t.Errorf("%d columns of %d bytes", len(row), len(b))
		}
		_, _ = values(b)
		row := strings.Split(string(b), "\x00")
		postgres := binary.BigEndian.AppendUint16(nil, uint16(len(row)))
		var mysql []byte
		for _, v := range row {
			postgres = append(binary.BigEndian.AppendUint32(postgres, uint32(len(v))), v...)
			mysql = append(append(mysql, byte(len(v))), v...)
		}
		if got, err := columns(postgres); err != nil || !slices.Equal(got, row) {
			t.Errorf("columns of %q: %q, %v", row, got, err)
		}
		if slices.ContainsFunc(row, func(v string) bool { return len(v) > 0xfa }) {
			return
		}
		if got, err := values(mysql); err != nil || !slices.Equal(got, row) {
			t.Errorf("values of %q: %q, %v", row, got, err)
		}
		if lsn := positionOf(row[0]); lsn < 0 {
			t.Errorf("position of %q: %d", row[0], lsn)
		}
	})
}
