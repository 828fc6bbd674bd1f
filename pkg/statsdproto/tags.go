package statsdproto

import "bytes"

// parseName finds the tags that a name carries.
func (l *Line) parseName(name []byte, styles Styles) {
	l.Name = name
	if styles&SignalFX != 0 {
		start, end := bytes.IndexByte(name, '['), bytes.IndexByte(name, ']')
		switch {
		case start >= 0 && end > start:
			l.parseTags(name[start+1:end], nameTagAssign)
			l.cutName(name, start, end+1)
			return
		case start >= 0 || end >= 0: // one bracket, or two that look away from each other
			l.BadTags++
			return
		}
	}
	for i, c := range name {
		if (c == '#' && styles&Librato != 0) || (c == ',' && styles&Influx != 0) {
			l.parseTags(name[i+1:], nameTagAssign)
			l.Name = name[:i]
			return
		}
	}
}

// cutName takes name[start:end] out of the name.
func (l *Line) cutName(name []byte, start, end int) {
	switch {
	case end == len(name):
		l.Name = name[:start]
	case start == 0:
		l.Name = name[end:]
	default:
		l.scratch = append(append(l.scratch[:0], name[:start]...), name[end:]...)
		l.Name = l.scratch
	}
}

// parseTags reads a list of tags. What follows the last comma may be nothing.
func (l *Line) parseTags(list []byte, assign byte) {
	for len(list) > 0 {
		tag, rest, _ := bytes.Cut(list, []byte{tagSeparator})
		list = rest
		if assign == datadogTagAssign && len(tag) > 0 && tag[0] == '#' {
			tag = tag[1:]
		}
		i := bytes.IndexByte(tag, assign)
		if i <= 0 || i == len(tag)-1 {
			l.BadTags++
			continue
		}
		l.Tags = append(l.Tags, Tag{Key: tag[:i], Value: tag[i+1:]})
	}
}
