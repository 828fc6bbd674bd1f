package statsdproto

import "strconv"

// Append appends the line in DogStatsD's spelling or, if it has several samples,
// in Influx', which has no container and no timestamp. Parse with all styles
// reads back the same line, if its names and values hold no separators.
func (l *Line) Append(b []byte) []byte {
	b = append(b, l.Name...)
	several := len(l.Samples) > 1
	if several {
		for _, t := range l.Tags {
			b = append(append(b, tagSeparator), t.Key...)
			b = append(append(b, nameTagAssign), t.Value...)
		}
	}
	for i := range l.Samples {
		b = l.Samples[i].appendTo(append(b, ':'))
	}
	if several {
		return b
	}
	for i, t := range l.Tags {
		if i == 0 {
			b = append(b, "|#"...)
		} else {
			b = append(b, tagSeparator)
		}
		b = append(append(b, t.Key...), datadogTagAssign)
		b = append(b, t.Value...)
	}
	if len(l.Container) > 0 {
		b = append(append(b, "|c:"...), l.Container...)
	}
	if len(l.Timestamp) > 0 {
		b = append(append(b, "|T"...), l.Timestamp...)
	}
	return b
}

func (s *Sample) appendTo(b []byte) []byte {
	if s.Type == Set {
		b = append(b, s.Member...)
	} else {
		if s.Relative && s.Value >= 0 && b[len(b)-1] != '+' && !negativeZero(s.Value) {
			b = append(b, '+')
		}
		b = strconv.AppendFloat(b, s.Value, 'g', -1, 64)
	}
	b = append(append(b, sectionSeparator), s.Type.String()...)
	if s.Rate != defaultRate {
		b = strconv.AppendFloat(append(b, "|@"...), s.Rate, 'g', -1, 64)
	}
	return b
}

func negativeZero(v float64) bool { return v == 0 && 1/v < 0 }
