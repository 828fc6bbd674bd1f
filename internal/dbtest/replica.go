package dbtest

import (
	"fmt"
	"strings"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// MariaDBPrimary makes the server write a log that replicas can follow.
func MariaDBPrimary() MariaDBOption {
	return func(o *mariadbOptions) { o.args = append(o.args, "--log-bin=log", "--server-id=1") }
}

// Replica starts a server that follows m, which was started with MariaDBPrimary, and is read only. It is up to date when Replica returns.
func (m *MariaDB) Replica(opts ...MariaDBOption) *MariaDB {
	m.tb.Helper()
	r := StartMariaDB(m.tb, append([]MariaDBOption{
		func(o *mariadbOptions) { o.pki = m.options.pki },
		func(o *mariadbOptions) {
			o.args = append(o.args, "--log-bin=log", fmt.Sprintf("--server-id=%d", m.port))
		},
	}, opts...)...)
	r.SQL(fmt.Sprintf("RESET MASTER; CHANGE MASTER TO master_host='127.0.0.1', master_port=%d, master_user='%s', master_password='%s', master_use_gtid=slave_pos; "+
		"SET GLOBAL read_only = 1; START SLAVE", m.port, NativeUser, Password))
	redistest.Eventually(m.tb, startLimit, "the replica to have all that the primary has", func() error {
		want := m.SQL("SELECT @@gtid_binlog_pos")
		if got, err := r.TrySQL(Database, "SELECT @@gtid_slave_pos"); err != nil || got != want {
			status, _ := r.TrySQL(Database, "SHOW SLAVE STATUS")
			return fmt.Errorf("it is at %q, the primary at %q: %w %s", got, want, err, strings.Join(strings.Fields(status), " "))
		}
		return nil
	})
	return r
}
