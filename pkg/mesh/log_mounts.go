package mesh

import (
	"path"
	"slices"
	"strings"
)

// LogMounts gives those of some mount points on which files of a pattern may be,
// sorted: the deepest above the part of the pattern that is no pattern, and all that
// its pattern may lead into. None: nothing is mounted there.
func LogMounts(pattern string, points []string) []string {
	names := strings.Split(strings.Trim(path.Dir(path.Clean(pattern)), "/"), "/")
	literal := slices.IndexFunc(names, func(name string) bool { return strings.ContainsAny(name, `*?[\`) })
	if literal < 0 {
		literal = len(names)
	}
	var out []string
	above, deepest := "", -1
	for _, point := range points {
		into := strings.Split(strings.Trim(path.Clean(point), "/"), "/")
		if into[0] == "" {
			into = nil // the root
		}
		switch {
		case !leadsInto(names, into):
		case len(into) > literal:
			out = append(out, point)
		case len(into) > deepest:
			above, deepest = point, len(into)
		}
	}
	if deepest >= 0 {
		out = append(out, above)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// leadsInto reports whether the first names of a pattern's folder fit those of a
// mount point.
func leadsInto(pattern, point []string) bool {
	if len(point) > len(pattern) {
		return false
	}
	for i := range point {
		if ok, err := path.Match(pattern[i], point[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// Reachable reports whether any file of the adapter can be on one of some mount
// points.
func (l *LogsAdapter) Reachable(points []string) bool {
	return slices.ContainsFunc(l.Sources, func(s LogSource) bool {
		return slices.ContainsFunc(s.Paths, func(p string) bool { return len(LogMounts(p, points)) > 0 })
	})
}
