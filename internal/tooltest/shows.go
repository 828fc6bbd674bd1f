package tooltest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
)

// Secrets are those of a source, by name.
type Secrets map[string]string

// Secret implements what sources ask of secrets; "" for one that is not there.
func (s Secrets) Secret(name string) (string, error) { return s[name], nil }

// ErrNotShown says that an exposition has not all that it should.
var ErrNotShown = errors.New("not shown")

// Shows asks a source, and gives its error; ErrNotShown unless what it gives has
// all of some lines, each as far as it is said.
func Shows(tb testing.TB, s metrics.Source, lines ...string) error {
	tb.Helper()
	list, err := s.Gather(tb.Context())
	text := Text(tb, list)
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line) {
			return errors.Join(err, fmt.Errorf("%w: %s is missing in\n%s", ErrNotShown, line, text))
		}
	}
	return err
}
