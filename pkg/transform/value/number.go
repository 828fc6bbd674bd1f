package value

import (
	"strconv"
	"strings"
)

// maxExponent bounds the digits of exponents: decimals of 128 bits need four.
const maxExponent = 4

// maxNumber bounds numbers that are read of strings, in bytes.
const maxNumber = 512

// NumberLen returns the length of the number, as JSON has them, that text begins
// with; 0 for none.
func NumberLen(text string) int {
	i := 0
	if i < len(text) && text[i] == '-' {
		i++
	}
	switch n := digits(text[i:]); {
	case n == 0, n > 1 && text[i] == '0':
		return 0
	default:
		i += n
	}
	if i < len(text) && text[i] == '.' {
		n := digits(text[i+1:])
		if n == 0 {
			return 0
		}
		i += 1 + n
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		n := digits(text[i:])
		if n == 0 {
			return 0
		}
		i += n
	}
	return i
}

// digits is the number of digits that text begins with.
func digits(text string) int {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return i
		}
	}
	return len(text)
}

// Bounded tells whether a number's exponent is one that others can do arithmetic
// with.
func Bounded(number string) bool {
	_, exponent, found := cutExponent(number)
	return !found || len(strings.TrimLeft(exponent, "+-0")) <= maxExponent
}

func cutExponent(number string) (mantissa, exponent string, found bool) {
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		return number[:i], number[i+1:], true
	}
	return number, "", false
}

// ParseNumber reads a number as XML Schema has them too, with a plus, leading
// zeros or nothing before or after the point, and space around it, and writes it
// as JSON has it. Digits stay as they are.
func ParseNumber(text string) (number string, ok bool) {
	if text = strings.TrimSpace(text); len(text) > maxNumber {
		return "", false
	}
	if n := NumberLen(text); n == len(text) && n > 0 {
		return text, Bounded(text)
	}
	rest, negative := strings.CutPrefix(text, "-")
	if !negative {
		rest = strings.TrimPrefix(rest, "+")
	}
	mantissa, exponent, found := cutExponent(rest)
	whole, fraction, point := strings.Cut(mantissa, ".")
	if whole == "" && fraction == "" {
		return "", false
	}
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	if negative {
		whole = "-" + whole
	}
	if point && fraction != "" {
		whole += "." + fraction
	}
	if found {
		whole += "e" + exponent
	}
	return whole, NumberLen(whole) == len(whole) && Bounded(whole)
}

// SameNumber tells whether two numbers, as JSON has them, have the same value:
// as decimals, not as doubles.
func SameNumber(a, b string) bool {
	x, xe, xn := decimal(a)
	y, ye, yn := decimal(b)
	return x == y && xn == yn && (xe == ye || x == "")
}

// decimal returns a number's digits, without zeros at either end, the power of
// ten of the digit after the last, and its sign.
func decimal(number string) (significant string, exponent int, negative bool) {
	rest, negative := strings.CutPrefix(number, "-")
	mantissa, power, found := cutExponent(rest)
	if found {
		exponent, _ = strconv.Atoi(power) // NumberLen has seen it
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	exponent -= len(fraction)
	all := strings.TrimLeft(whole+fraction, "0")
	significant = strings.TrimRight(all, "0")
	return significant, exponent + len(all) - len(significant), negative
}
