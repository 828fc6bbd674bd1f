package mesh_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

func TestLogMounts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pattern      string
		points, want []string
	}{
		"at the folder":                     {"/var/log/nginx/access.log", []string{"/etc/nginx", "/var/log/nginx"}, []string{"/var/log/nginx"}},
		"above it":                          {"/var/log/nginx/*.log", []string{"/var/log"}, []string{"/var/log"}},
		"the deepest hides the others":      {"/var/log/nginx/a.log", []string{"/var", "/var/log/nginx", "/var/log"}, []string{"/var/log/nginx"}},
		"not beside it":                     {"/var/log/nginx/a.log", []string{"/var/log/nginx2", "/var/lo", "/var/log/nginx/a.log/deeper"}, nil},
		"a slash at the end":                {"/logs/a.log", []string{"/logs/"}, []string{"/logs/"}},
		"the root":                          {"/a.log", []string{"/"}, []string{"/"}},
		"all that a pattern leads into":     {"/logs/*/a.log", []string{"/logs/x", "/logs", "/logs/y/", "/data"}, []string{"/logs", "/logs/x", "/logs/y/"}},
		"the whole way of a pattern counts": {"/logs/*/app/a.log", []string{"/logs/x/app", "/logs/x/db"}, []string{"/logs/x/app"}},
		"nothing":                           {"/logs/a.log", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, mesh.LogMounts(c.pattern, c.points)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
