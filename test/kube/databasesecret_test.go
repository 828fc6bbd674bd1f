package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// databaseSecretRotates changes the password of a role as one does, first at the
// server: a session that is open stays, one that comes before the Secret has the
// new password waits for it, later ones use it, and neither app nor proxy is begun
// anew.
func databaseSecretRotates(t *testing.T, c *cluster) {
	ns, port := c.Namespace(t), redistest.Port(t)
	c.Kubectl(t, nil, "-n", ns, "create", "rolebinding", "dragoman-secrets", "--clusterrole", "dragoman-secrets",
		"--serviceaccount", system+":dragoman-controlplane")
	c.Secret(t, ns, "orders", map[string]string{"username": dbtest.SCRAMUser, "password": dbtest.Password})
	server := dbtest.StartPostgres(t, dbtest.PostgresSetting("listen_addresses", "*"))
	environments, _ := lead(t, c, ns, "orders", map[string]int{"dev": server.Port(), "prod": server.Port()})
	c.Apply(t, ns, database("orders", "postgres", port, environments))
	proxy := c.proxy(t, c.web(t, ns, "web-0"), t.TempDir())
	proxy.Ready("LIVE")
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	defer cancel()
	dsn := fmt.Sprintf("host=127.0.0.1 port=%d user=app dbname=placeholder sslmode=disable", port)
	var open *pgx.Conn
	proxy.Eventually("a session to begin", func() (err error) {
		open, err = pgx.Connect(ctx, dsn)
		return err
	})
	defer open.Close(ctx)

	server.SQL("alter role " + dbtest.SCRAMUser + " password 'the second password'")
	between := make(chan error, 1)
	go func() {
		conn, err := pgx.Connect(ctx, dsn)
		if err == nil {
			err = conn.Close(ctx)
		}
		between <- err
	}()
	proxy.Eventually("the server to refuse the old password", func() error {
		if !strings.Contains(server.Output(), "password authentication failed") {
			return errors.New("it has not")
		}
		return nil
	})
	c.Secret(t, ns, "orders", map[string]string{"username": dbtest.SCRAMUser, "password": "the second password"})
	if err := <-between; err != nil {
		t.Errorf("a session that began before the Secret had the new password: %v", err)
	}
	proxy.Eventually("a session to begin with the new password", func() error {
		conn, err := pgx.Connect(ctx, dsn)
		if err == nil {
			err = conn.Close(ctx)
		}
		return err
	})
	if err := open.Ping(ctx); err != nil {
		t.Errorf("the session that was open: %v", err)
	}
	for _, what := range append([]*program{proxy}, c.replicas[0].program, c.replicas[1].program) {
		_, dump := what.Get("/config_dump")
		if text := dump + string(what.Output()); meshtest.Holds(text, dbtest.Password) == nil || meshtest.Holds(text, "the second password") == nil {
			t.Errorf("the %s shows a password", what.Name)
		}
	}
}
