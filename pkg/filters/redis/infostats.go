package redis

import (
	"slices"
	"strconv"
	"strings"
)

// statLines are the lines of INFO that a server has one of for each command or kind
// of error, over all shards.
type statLines struct {
	lines map[string][]statField // by the name of the line
}

// statField is one of "calls=3,usec=21,usec_per_call=7.00".
type statField struct {
	name  string
	value float64
	text  string // as it came
}

// statSection is the section that a line is of; "" if it is of none that is
// merged line by line.
func statSection(name string) string {
	switch {
	case strings.HasPrefix(name, "cmdstat_"):
		return "Commandstats"
	case strings.HasPrefix(name, "errorstat_"):
		return "Errorstats"
	case strings.HasPrefix(name, "latency_percentiles_usec_"):
		return "Latencystats"
	}
	return ""
}

// add takes in one line. Counts and times are summed; of a percentile the worst
// counts, since those of several servers have no sum.
func (s *statLines) add(line, value string) {
	if s.lines == nil {
		s.lines = map[string][]statField{}
	}
	have := s.lines[line]
	worst := statSection(line) == "Latencystats"
	for part := range strings.SplitSeq(value, ",") {
		name, text, _ := strings.Cut(part, "=")
		n, err := strconv.ParseFloat(text, 64)
		i := slices.IndexFunc(have, func(f statField) bool { return f.name == name })
		switch {
		case i < 0:
			have = append(have, statField{name, n, text})
		case err != nil:
		case !worst:
			have[i].value += n
			have[i].text = strconv.FormatFloat(have[i].value, 'f', -1, 64)
		case n > have[i].value:
			have[i].value, have[i].text = n, text
		}
	}
	s.lines[line] = have
}

// write writes the lines of one section, in the order of their names.
func (s *statLines) write(b *strings.Builder, section string) {
	var names []string
	for name := range s.lines {
		if statSection(name) == section {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		fields := s.lines[name]
		b.WriteString(name + ":")
		for i, f := range fields {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(f.name + "=" + f.average(fields))
		}
		b.WriteString("\r\n")
	}
}

// average is the field's value; usec_per_call is made anew.
func (f statField) average(all []statField) string {
	if f.name != "usec_per_call" {
		return f.text
	}
	var calls, usec float64
	for _, o := range all {
		switch o.name {
		case "calls":
			calls = o.value
		case "usec":
			usec = o.value
		}
	}
	if calls == 0 {
		return f.text
	}
	return strconv.FormatFloat(usec/calls, 'f', 2, 64)
}

// humanBytes is a number of bytes as Redis writes it in fields such as
// used_memory_human (bytesToHuman).
func humanBytes(n int64) string {
	const units = "KMGTP"
	v := float64(n)
	if v < 1024 {
		return strconv.FormatInt(n, 10) + "B"
	}
	i := -1
	for v >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + units[i:i+1]
}
