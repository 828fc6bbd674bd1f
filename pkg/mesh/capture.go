package mesh

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// CapturePort is a port to which an app connects, wherever that is, and the port of the pod which gets these connections instead.
type CapturePort struct {
	From, To uint16
}

// String is the form that ParseCapturePorts takes.
func (p CapturePort) String() string {
	if p.From == p.To {
		return strconv.Itoa(int(p.From))
	}
	return fmt.Sprintf("%d:%d", p.From, p.To)
}

// mostCapturePorts bounds a list: a pod has not that many servers.
const mostCapturePorts = 64

// ErrCapturePorts says that a list of ports to capture is none.
var ErrCapturePorts = errors.New("is no list of ports to capture; want ports, or pairs of the app's port and the Ambassador's, as in 6379,5432:15432")

// ParseCapturePorts reads a list of ports: "6379,5432:15432" takes connections to port 6379 to the pod's port 6379, and those to 5432 to 15432. An error wraps
// ErrCapturePorts, and says which part is wrong.
func ParseCapturePorts(list string) ([]CapturePort, error) {
	parts := strings.Split(list, ",")
	if len(parts) > mostCapturePorts {
		return nil, fmt.Errorf("%w: these are %d, more than %d", ErrCapturePorts, len(parts), mostCapturePorts)
	}
	var out []CapturePort
	seen := map[uint16]bool{}
	for _, part := range parts {
		from, to, pair := strings.Cut(strings.TrimSpace(part), ":")
		if !pair {
			to = from
		}
		one := CapturePort{}
		for _, side := range []struct {
			text string
			into *uint16
		}{{from, &one.From}, {to, &one.To}} {
			n, err := strconv.ParseUint(side.text, 10, 16)
			if err != nil || n == 0 {
				return nil, fmt.Errorf("%w: %q is no port", ErrCapturePorts, side.text)
			}
			*side.into = uint16(n)
		}
		if seen[one.From] {
			return nil, fmt.Errorf("%w: %d is there twice", ErrCapturePorts, one.From)
		}
		seen[one.From] = true
		out = append(out, one)
	}
	return out, nil
}
