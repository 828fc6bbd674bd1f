package merge

import (
	"errors"
	"math/big"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// maxApart bounds the digits of a sum.
const maxApart = 1000

var errApart = errors.New("has a number that is too large or too small to be added up")

// add returns the sum of two nodes, which is a itself where that is an object.
// On an error a is as before.
func (m *merger) add(a, b value.ID) (value.ID, error) {
	var sums []sum
	if err := m.addAll(a, b, &sums); err != nil {
		return a, err
	}
	for _, s := range sums {
		if s.text != "" {
			m.doc.At(s.into).Text = s.text
			continue
		}
		m.move(s.into, s.moved)
	}
	return a, nil
}

// sum is a change that is made once all of them are known to be possible.
type sum struct {
	into  value.ID
	text  string   // of the number into
	moved value.ID // to the object into
}

func (m *merger) addAll(a, b value.ID, sums *[]sum) error {
	x, y := m.doc.At(a), m.doc.At(b)
	switch {
	case x.Kind == value.Number && y.Kind == value.Number:
		text, err := addNumbers(x.Text, y.Text)
		*sums = append(*sums, sum{into: a, text: text})
		return err
	case x.Kind != value.Object || y.Kind != value.Object:
		return nil // the first one's is taken
	}
	have := m.members(a)
	for at := y.First; at != value.None; at = m.doc.At(at).Next {
		mine, there := have[m.doc.At(at).Name]
		if !there {
			*sums = append(*sums, sum{into: a, moved: at})
			continue
		}
		if err := m.addAll(mine, at, sums); err != nil {
			return err
		}
	}
	return nil
}

// addNumbers adds numbers as JSON writes them, exactly.
func addNumbers(a, b string) (string, error) {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	if errX == nil && errY == nil {
		if z := x + y; (z > x) == (y > 0) {
			return strconv.FormatInt(z, 10), nil
		}
	}
	p, q := parseDecimal(a), parseDecimal(b)
	if p.exp-q.exp > maxApart || q.exp-p.exp > maxApart || p.exp > maxApart || p.exp < -maxApart {
		return "", errApart
	}
	exp := min(p.exp, q.exp)
	digits := p.scaled(exp)
	return decimal{digits.Add(digits, q.scaled(exp)), exp}.String(), nil
}

// decimal is digits * 10^exp.
type decimal struct {
	digits *big.Int
	exp    int
}

// parseDecimal reads a number of JSON, whose exponent has four digits at most.
func parseDecimal(s string) decimal {
	mantissa, exponent := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa = s[:i]
		exponent, _ = strconv.Atoi(s[i+1:])
	}
	if i := strings.IndexByte(mantissa, '.'); i >= 0 {
		exponent -= len(mantissa) - i - 1
		mantissa = mantissa[:i] + mantissa[i+1:]
	}
	d := decimal{digits: new(big.Int), exp: exponent}
	d.digits.SetString(mantissa, 10)
	return d
}

// scaled gives the digits for a smaller exponent.
func (d decimal) scaled(exp int) *big.Int {
	factor := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(d.exp-exp)), nil)
	return factor.Mul(factor, d.digits)
}

// String writes it without an exponent where that is not long.
func (d decimal) String() string {
	const long = 40 // digits
	text := d.digits.String()
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	switch {
	case d.exp == 0:
	case d.exp > 0 && len(text)+d.exp <= long:
		text += strings.Repeat("0", d.exp)
	case d.exp < 0 && -d.exp <= long:
		if n := -d.exp - len(text) + 1; n > 0 {
			text = strings.Repeat("0", n) + text
		}
		text = text[:len(text)+d.exp] + "." + text[len(text)+d.exp:]
	default:
		text += "e" + strconv.Itoa(d.exp)
	}
	return sign + text
}
