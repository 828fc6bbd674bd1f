package parse

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// Clock reads the times of one source. The zero value takes every form that it
// knows; see NewClock.
type Clock struct {
	form   form
	layout string

	// the last text of whole seconds that was read, and what it meant
	last  [32]byte
	lastN int
	at    int64
}

type form uint8

const (
	formAuto form = iota
	formRFC3339
	formCLF
	formUnix
	formMilli
	formMicro
	formNano
	formLayout
)

// NewClock takes "" or "auto"; "rfc3339" (also with a space for the T, commas,
// slashes, and without a zone, which is then UTC); "clf" as nginx and Apache write
// it; "unix" (seconds, perhaps with a fraction), "unixMilli", "unixMicro",
// "unixNano"; or a layout of Go, which says how it writes 2006-01-02 15:04:05.
func NewClock(text string) (Clock, error) {
	switch text {
	case "", "auto":
		return Clock{}, nil
	case "rfc3339":
		return Clock{form: formRFC3339}, nil
	case "clf":
		return Clock{form: formCLF}, nil
	case "unix":
		return Clock{form: formUnix}, nil
	case "unixMilli":
		return Clock{form: formMilli}, nil
	case "unixMicro":
		return Clock{form: formMicro}, nil
	case "unixNano":
		return Clock{form: formNano}, nil
	}
	if !strings.Contains(text, "05") && !strings.Contains(text, "5") || !strings.Contains(text, "2006") && !strings.Contains(text, "06") {
		return Clock{}, fmt.Errorf("%q is neither a known form nor a layout of Go with year and seconds, as in 2006-01-02 15:04:05", text)
	}
	return Clock{form: formLayout, layout: text}, nil
}

// Parse gives nanoseconds since 1970.
func (c *Clock) Parse(text []byte) (nanos int64, ok bool) {
	switch c.form {
	case formAuto:
		return c.auto(text)
	case formRFC3339:
		return c.rfc3339(text)
	case formCLF:
		return c.clf(text)
	case formUnix:
		return decimal(text, 1e9)
	case formMilli:
		return decimal(text, 1e6)
	case formMicro:
		return decimal(text, 1e3)
	case formNano:
		return decimal(text, 1)
	case formLayout:
	}
	t, err := time.Parse(c.layout, string(text))
	if err != nil || t.Year() < minYear || t.Year() > maxYear || madeUp(t) {
		return 0, false
	}
	return t.UnixNano(), true
}

// madeUp reports whether the time has a zone by an abbreviation that is not known,
// which package time takes for UTC. Hours too early or late are worse than no time.
func madeUp(t time.Time) bool {
	name, offset := t.Zone()
	switch name {
	case "", "UTC", "GMT", "UCT", "WET", "Z":
		return false
	}
	return offset == 0 && t.Location() != time.Local
}

// Years that nanoseconds of 64 bits hold whole.
const (
	minYear = 1678
	maxYear = 2261
)

// auto goes by the look of it. Numbers are taken for seconds, milli-, micro- or
// nanoseconds by their size, which is unmistakable from 1973 on.
func (c *Clock) auto(text []byte) (int64, bool) {
	if len(text) == 0 {
		return 0, false
	}
	if len(text) > 7 && (text[4] == '-' || text[4] == '/') {
		return c.rfc3339(text)
	}
	if len(text) > 11 && text[2] == '/' {
		return c.clf(text)
	}
	whole := bytes.IndexByte(text, '.')
	if whole < 0 {
		whole = len(text)
	}
	switch {
	case whole <= 11:
		return decimal(text, 1e9)
	case whole <= 14:
		return decimal(text, 1e6)
	case whole <= 17:
		return decimal(text, 1e3)
	}
	return decimal(text, 1)
}

// decimal reads a number of units of so many nanoseconds.
func decimal(text []byte, unit int64) (int64, bool) {
	const most = 1 << 62
	whole, fraction, _ := bytes.Cut(text, []byte("."))
	if len(whole) == 0 || len(whole) > 19 || len(text) == len(whole)+1 {
		return 0, false
	}
	n := int64(0)
	for _, d := range whole {
		if d < '0' || d > '9' || n > (most-9)/10 {
			return 0, false
		}
		n = n*10 + int64(d-'0')
	}
	if n > most/unit {
		return 0, false
	}
	n *= unit
	for _, d := range fraction {
		if d < '0' || d > '9' {
			return 0, false
		}
		unit /= 10
		n += int64(d-'0') * unit
	}
	return n, true
}

// rfc3339 reads "2006-01-02T15:04:05.999Z" and its relatives.
func (c *Clock) rfc3339(text []byte) (int64, bool) {
	const seconds = len("2006-01-02T15:04:05")
	if len(text) < seconds {
		return 0, false
	}
	base, ok := c.cached(text[:seconds], civil)
	if !ok {
		return 0, false
	}
	text = text[seconds:]
	nanos, n := fraction(text)
	offset, ok := zone(text[n:])
	return base + nanos - offset, ok
}

// cached remembers what the last text of whole seconds meant: most are like the
// one before.
func (c *Clock) cached(text []byte, read func([]byte) (int64, bool)) (int64, bool) {
	if c.lastN == len(text) && string(c.last[:c.lastN]) == string(text) {
		return c.at, true
	}
	at, ok := read(text)
	if ok {
		c.at, c.lastN = at, copy(c.last[:], text)
	}
	return at, ok
}

// civil reads "2006-01-02T15:04:05", with - or / and T or a space.
func civil(b []byte) (int64, bool) {
	if b[4] != '-' && b[4] != '/' || b[7] != b[4] || b[10] != 'T' && b[10] != 't' && b[10] != ' ' {
		return 0, false
	}
	century, ok1 := two(b)
	year, ok2 := two(b[2:])
	month, ok3 := two(b[5:])
	day, ok4 := two(b[8:])
	clock, ok5 := clockTime(b[11:])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return 0, false
	}
	return date(century*100+year, month, day, clock)
}

func date(year, month, day int, clock int64) (int64, bool) {
	if year < minYear || year > maxYear || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, false
	}
	return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).UnixNano() + clock, true
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// clockTime reads "15:04:05"; a leap second is the one after.
func clockTime(b []byte) (int64, bool) {
	if len(b) < 8 || b[2] != ':' || b[5] != ':' {
		return 0, false
	}
	h, ok1 := two(b)
	m, ok2 := two(b[3:])
	s, ok3 := two(b[6:])
	ok := ok1 && ok2 && ok3 && h < 24 && m < 60 && s <= 60
	return int64((h*60+m)*60+s) * int64(time.Second), ok
}

func two(b []byte) (int, bool) {
	a, c := b[0]-'0', b[1]-'0'
	return int(a)*10 + int(c), a <= 9 && c <= 9
}

// fraction reads ".123" or ",123"; digits beyond the ninth are left out.
func fraction(b []byte) (nanos int64, n int) {
	if len(b) < 2 || b[0] != '.' && b[0] != ',' {
		return 0, 0
	}
	unit := int64(time.Second)
	for n = 1; n < len(b) && b[n] >= '0' && b[n] <= '9'; n++ {
		unit /= 10
		nanos += int64(b[n]-'0') * unit
	}
	return nanos, n
}

// zone reads "", "Z", "+02:00", "+0200" or "+02", with or without a space.
func zone(b []byte) (int64, bool) {
	if len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	if len(b) == 0 || string(b) == "Z" || string(b) == "z" || string(b) == "UTC" {
		return 0, true
	}
	if b[0] != '+' && b[0] != '-' || len(b) < 3 {
		return 0, false
	}
	h, ok := two(b[1:])
	m, rest := 0, b[3:]
	if len(rest) == 3 && rest[0] == ':' {
		rest = rest[1:]
	}
	if len(rest) == 2 {
		var ok2 bool
		m, ok2 = two(rest)
		ok, rest = ok && ok2, nil
	}
	offset := int64(h*60+m) * int64(time.Minute)
	if b[0] == '-' {
		offset = -offset
	}
	return offset, ok && len(rest) == 0 && h < 24 && m < 60
}

// clf reads "02/Jan/2006:15:04:05 -0700".
func (c *Clock) clf(text []byte) (int64, bool) {
	const whole = len("02/Jan/2006:15:04:05 -0700")
	if len(text) != whole {
		return 0, false
	}
	return c.cached(text, clf)
}

func clf(b []byte) (int64, bool) {
	const months = "JanFebMarAprMayJunJulAugSepOctNovDec"
	if b[2] != '/' || b[6] != '/' || b[11] != ':' || b[20] != ' ' {
		return 0, false
	}
	day, ok1 := two(b)
	month := strings.Index(months, string(b[3:6]))
	century, ok2 := two(b[7:])
	year, ok3 := two(b[9:])
	clock, ok4 := clockTime(b[12:])
	offset, ok5 := zone(b[21:])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || month < 0 || month%3 != 0 {
		return 0, false
	}
	at, ok := date(century*100+year, month/3+1, day, clock)
	return at - offset, ok
}
