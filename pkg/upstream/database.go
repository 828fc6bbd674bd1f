package upstream

import (
	"context"

	"github.com/dragoman-mesh/dragoman/pkg/upstream/sqlprobe"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/topology"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// databaseTarget says how the servers of a database are asked, without their
// addresses; nil for clusters that are not databases, or are not checked.
func (c *cluster) databaseTarget() *sqlprobe.Target {
	h := c.spec.HealthCheck
	if h == nil || !h.Kind.SQL() {
		return nil
	}
	t := &sqlprobe.Target{
		StartTLS:    c.options.StartTLS,
		TLSOptional: h.Database.TLSOptional,
		Login:       c.login(&h.Database.Login),
		Database:    h.Database.Login.Database,
		Allow:       h.Database.RequireAuth.Methods(),
	}
	if h.Kind == resource.HealthCheckMySQL {
		t.Protocol = sqlprobe.MySQL
	}
	return t
}

// login reads user and password at each call.
func (c *cluster) login(l *resource.DatabaseLogin) func() (string, string, error) {
	view := c.secrets
	return func() (user, password string, err error) {
		if user, err = view.value(l.Username); err != nil || !l.Password.Set() {
			return user, "", err
		}
		password, err = view.value(l.Password)
		return user, password, err
	}
}

// askDatabase questions a server of a database. The connection is kept: each
// login costs the server more than many questions.
func (mon *monitor) askDatabase(ctx context.Context, s *settings) (*word, error) {
	if mon.target != s {
		mon.hangUp()
	}
	if mon.sql == nil {
		mon.sql, mon.target = sqlprobe.New(*s.sql), s
	}
	a, err := mon.sql.Ask(ctx)
	if err != nil || !s.probeRole {
		return nil, err
	}
	return &word{
		Role:     topology.Role{Primary: a.Primary, Offset: a.Position},
		timeline: a.Timeline,
		readOnly: a.ReadOnly,
	}, nil
}
