package statsdproto

import (
	"bytes"
	"unicode/utf8"
)

// Parse reads a line without its end. An error is a [Reason] and means that
// nothing of the line can be used. Without one, there are the samples that are
// sound, and the problems of the others. An empty line has no samples, and
// nothing is wrong with it.
func (l *Line) Parse(line []byte, styles Styles) error {
	l.reset()
	line = TrimEnd(line)
	if len(line) == 0 {
		return nil
	}
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || !utf8.Valid(line) {
		return MalformedLine
	}
	l.parseName(line[:colon], styles)
	return l.parseSamples(line[colon+1:], styles)
}

// TrimEnd takes the carriage return off that some senders put before the
// newline.
func TrimEnd(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

// parseSamples reads what is behind the first colon.
func (l *Line) parseSamples(rest []byte, styles Styles) error {
	datadog := bytes.Contains(rest, []byte("|#"))
	if datadog && len(l.Tags) > 0 {
		return MixedTaggingStyles
	}
	bar := bytes.IndexByte(rest, sectionSeparator)
	if bar < 0 {
		return NotEnoughParts
	}
	values, suffix := rest[:bar], rest[bar:]
	typ := suffix[1:]
	if i := bytes.IndexByte(typ, sectionSeparator); i >= 0 {
		typ = typ[:i]
	}
	switch several := bytes.IndexByte(values, sampleSeparator) >= 0; {
	case typeOf(typ) == Set:
		l.parseSample(values, &form{suffix: suffix, styles: styles})
	case several && !typeOf(typ).Observed():
		return InvalidAggregateType
	case several:
		l.parseAggregate(values, suffix, styles)
	case datadog || hasContainer(suffix):
		l.parseSample(values, &form{suffix: suffix, styles: styles})
	default:
		l.parseSeries(rest, styles)
	}
	return nil
}

// hasContainer tells a container id, which is behind a colon as the next sample
// of a line would be, from such a sample: before the id there is no colon, and
// it is not in the place of a type.
func hasContainer(suffix []byte) bool {
	for section := 0; len(suffix) > 0; section++ {
		suffix = suffix[1:] // its bar
		end := bytes.IndexByte(suffix, sectionSeparator)
		if end < 0 {
			end = len(suffix)
		}
		switch colon := bytes.IndexByte(suffix[:end], ':'); {
		case section > 0 && colon == 1 && suffix[0] == 'c':
			return true
		case colon >= 0:
			return false
		}
		suffix = suffix[end:]
	}
	return false
}

// parseAggregate reads DogStatsD's extended aggregation, 1:2:3|ms|#tags.
func (l *Line) parseAggregate(values, suffix []byte, styles Styles) {
	form := form{suffix: suffix, styles: styles}
	for more := true; more; {
		var value []byte
		value, values, more = bytes.Cut(values, []byte{sampleSeparator})
		l.parseSample(value, &form)
	}
}

// parseSeries reads samples that are separated by colons, 1|c:2|ms.
func (l *Line) parseSeries(rest []byte, styles Styles) {
	for more := true; more; {
		var sample []byte
		sample, rest, more = bytes.Cut(rest, []byte{sampleSeparator})
		value, suffix := sample, []byte(nil)
		if bar := bytes.IndexByte(sample, sectionSeparator); bar >= 0 {
			value, suffix = sample[:bar], sample[bar:]
		}
		l.parseSample(value, &form{suffix: suffix, styles: styles})
	}
}

// form is what is behind a value. It is read once, behind the first value that
// is sound.
type form struct {
	suffix []byte // with its bar
	styles Styles

	read   bool
	reason Reason // why no value can have it
	rate   float64
}

// parseSample reads a value and its form.
func (l *Line) parseSample(value []byte, f *form) {
	if n := 1 + bytes.Count(f.suffix, []byte{sectionSeparator}); n < minSections || n > maxSections {
		l.problem(MalformedComponent)
		return
	}
	typ, rest, more := bytes.Cut(f.suffix[1:], []byte{sectionSeparator})
	s := Sample{Type: typeOf(typ), Rate: defaultRate}
	switch {
	case s.Type == Set && len(value) > 0:
		s.Member = value
	case s.Type == Set, !s.parseValue(value):
		l.problem(MalformedValue)
		return
	}
	if !f.read {
		f.read, f.rate = true, defaultRate
		if more {
			f.reason = l.parseSections(f, rest)
		}
		if s.Type == 0 && f.reason == 0 {
			f.reason = IllegalEvent
		}
	}
	if f.reason != 0 {
		l.problem(f.reason)
		return
	}
	s.Rate = f.rate
	l.Samples = append(l.Samples, s)
}

func (s *Sample) parseValue(value []byte) bool {
	v, ok := ParseValue(value)
	s.Value = v
	s.Relative = len(value) > 0 && (value[0] == '+' || value[0] == '-')
	return ok
}

// parseSections reads what is behind the type.
func (l *Line) parseSections(f *form, rest []byte) Reason {
	if hasEmptySection(rest) {
		return MalformedComponent
	}
	for more := true; more; {
		var section []byte
		section, rest, more = bytes.Cut(rest, []byte{sectionSeparator})
		switch section[0] {
		case '@':
			f.rate = l.parseRate(section[1:])
		case '#':
			if f.styles&Datadog != 0 {
				l.parseTags(section[1:], datadogTagAssign)
			}
		case 'T':
			l.Timestamp = section[1:]
		default:
			if reason := l.parseOther(section); reason != 0 {
				return reason
			}
		}
	}
	return 0
}

func (l *Line) parseOther(section []byte) Reason {
	switch {
	case bytes.HasPrefix(section, []byte("e:")), bytes.HasPrefix(section, []byte("card:")):
		return 0 // where a sample comes from, in words of Datadog's agent
	case section[0] != 'c':
		return InvalidSampleFactor
	case len(section) <= len("c:") || section[1] != ':':
		return MalformedContainerID
	}
	l.Container = section[len("c:"):]
	return 0
}

func hasEmptySection(rest []byte) bool {
	n := len(rest)
	return n == 0 || rest[0] == sectionSeparator || rest[n-1] == sectionSeparator || bytes.Contains(rest, []byte("||"))
}

// parseRate takes a rate that is none for 1, after counting it.
func (l *Line) parseRate(b []byte) float64 {
	rate, ok := ParseValue(b)
	if !ok {
		l.problem(InvalidSampleFactor)
	}
	if !ok || rate == 0 {
		return defaultRate
	}
	return rate
}
