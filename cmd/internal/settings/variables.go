package settings

import (
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// variable is that of a flag.
func variable(flag string) string {
	return Prefix + "_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// warnOfVariables tells of variables that are a slip of the pen away from one that
// means something: DRAGOMAN_ENVIRONMNT would silently choose another database.
// Others with the prefix are none of ours: Kubernetes sets
// DRAGOMAN_CONTROLPLANE_SERVICE_HOST in every pod beside that Service.
func (s *Settings) warnOfVariables(log *slog.Logger) {
	known := map[string]bool{}
	s.Flags.VisitAll(func(f *pflag.Flag) { known[variable(f.Name)] = true })
	for _, assignment := range os.Environ() {
		name, _, _ := strings.Cut(assignment, "=")
		if !strings.HasPrefix(strings.ToUpper(name), Prefix) || known[name] {
			continue
		}
		for meant := range known {
			if mesh.EditDistance(strings.ToUpper(name), meant) <= 2 {
				log.Warn("a variable is not known and has no effect", "variable", name, "hint", "did you mean "+meant+"?")
			}
		}
	}
}
