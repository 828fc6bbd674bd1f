package mesh

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// +kubebuilder:validation:Type=string
// +kubebuilder:validation:Pattern=`^(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))*)$`

// Duration is written as in Go: "500ms", "1m30s". It is never negative.
type Duration time.Duration

func (d *Duration) parse(text string) error {
	v, err := time.ParseDuration(text)
	if err != nil {
		return errors.New(`must be a duration with its unit, as in "500ms", "30s" or "5m"`)
	}
	if v < 0 {
		return errors.New("must not be negative")
	}
	*d = Duration(v)
	return nil
}

// MarshalText gives the form that decoding takes.
func (d Duration) MarshalText() ([]byte, error) {
	return []byte(time.Duration(d).String()), nil
}

// Bytes is a size, a whole number with an optional unit: 65536, "64Ki", "64KiB",
// "1M" (a million).
type Bytes uint64

func (b *Bytes) parse(text string) error {
	digits := strings.TrimRight(text, "KMGTkiB")
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return errors.New(`must be a size in bytes, as in 65536, "64Ki" or "512Mi"`)
	}
	scale, ok := byteUnit(strings.TrimSuffix(text[len(digits):], "B"))
	if !ok {
		return fmt.Errorf("unknown unit %q: use Ki, Mi, Gi, Ti or k, M, G, T", text[len(digits):])
	}
	if n > math.MaxUint64/scale {
		return errors.New("is too large")
	}
	*b = Bytes(n * scale)
	return nil
}

func byteUnit(unit string) (scale uint64, ok bool) {
	switch unit {
	case "":
		return 1, true
	case "k", "K":
		return 1e3, true
	case "M":
		return 1e6, true
	case "G":
		return 1e9, true
	case "T":
		return 1e12, true
	case "Ki":
		return 1 << 10, true
	case "Mi":
		return 1 << 20, true
	case "Gi":
		return 1 << 30, true
	case "Ti":
		return 1 << 40, true
	}
	return 0, false
}

// MarshalText gives a form that decoding takes.
func (b Bytes) MarshalText() ([]byte, error) {
	return strconv.AppendUint(nil, uint64(b), 10), nil
}

// PercentScale is the Percent that is the whole.
const PercentScale Percent = 1_000_000

// Percent is a share in millionths, written 12.5 or "12.5%".
type Percent uint32

func (p *Percent) parse(text string) error {
	v, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || math.IsNaN(v) || v < 0 || v > 100 {
		return errors.New("must be a percentage from 0 to 100")
	}
	*p = Percent(math.Round(v * float64(PercentScale) / 100))
	return nil
}

// MarshalText gives the form that decoding takes.
func (p Percent) MarshalText() ([]byte, error) {
	v := float64(p) * 100 / float64(PercentScale)
	return append(strconv.AppendFloat(nil, v, 'f', -1, 64), '%'), nil
}

// +kubebuilder:validation:Type=string
// +kubebuilder:validation:Pattern=`^(0o?)?[0-7]{1,3}$`

// FileMode is permission bits, written in octal: "0660".
type FileMode uint32

func (m *FileMode) parse(text string) error {
	v, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
	if err != nil || v > 0o777 {
		return errors.New(`must be permission bits in octal, as in "0660"`)
	}
	*m = FileMode(v)
	return nil
}

// MarshalText gives the form that decoding takes.
func (m FileMode) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "0%o", uint32(m)), nil
}

// +kubebuilder:validation:Type=string
// +kubebuilder:validation:Pattern=`^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$`

// Number is a finite number as text, as in "0.001". In a file the quotes may be
// left out.
type Number string

func (n *Number) parse(text string) error {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || strings.ContainsAny(text, "xXpP_") {
		return errors.New(`must be a number, as in "0.001"`)
	}
	*n = Number(text)
	return nil
}

// Value gives the number; 0 for a text that is none.
func (n Number) Value() float64 {
	v, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		return 0
	}
	return v
}
