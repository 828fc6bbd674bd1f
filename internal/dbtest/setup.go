package dbtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"syscall"
)

// sigFast makes PostgreSQL end its sessions and itself in good order.
const sigFast = syscall.SIGINT

// hbaLines is pg_hba.conf: the first line that fits decides.
var hbaLines = []string{
	"local all,replication all trust",
	"host all " + TrustUser + " all trust",
	"host all " + CleartextUser + " all password",
	"host all " + MD5User + " all md5",
	"hostssl all " + CertUser + " all cert",
	"host all " + CertUser + " all reject",
	"hostssl all " + TLSUser + " all scram-sha-256",
	"host all " + TLSUser + " all reject",
	"hostnossl all " + NoTLSUser + " all scram-sha-256",
	"host all " + NoTLSUser + " all reject",
	"host replication " + ReplicaUser + " all scram-sha-256",
	"host all all all scram-sha-256",
}

// templateSetup and postgresSetup are run in single-user mode, where statements end with a semicolon and an empty line. The first is for the
// databases that the second makes.
const templateSetup = "grant all on schema public to public;\n\n"

var postgresSetup = setupRoles() + `
create database ` + Database + `;

create database ` + DatabaseDev + `;

create database ` + DatabaseProd + `;

`

func setupRoles() string {
	var sql strings.Builder
	role := func(name, password, encryption, options string) {
		fmt.Fprintf(&sql, "set password_encryption = '%s';\n\ncreate role %s login password '%s' %s;\n\n", encryption, name, password, options)
	}
	for _, name := range []string{TrustUser, CleartextUser, SCRAMUser, TLSUser, NoTLSUser, CertUser} {
		role(name, Password, "scram-sha-256", "")
	}
	role(MD5User, Password, "md5", "")
	role(UnicodeUser, UnicodePassword, "scram-sha-256", "")
	role(ReplicaUser, Password, "scram-sha-256", "replication")
	role(ReadOnlyUser, Password, "scram-sha-256", "")
	fmt.Fprintf(&sql, "alter role %s set default_transaction_read_only = on;\n\n", ReadOnlyUser)
	fmt.Fprintf(&sql, "alter role %s password '%s';\n\n", Superuser, Password)
	for _, name := range []string{TrustUser, CleartextUser, SCRAMUser, TLSUser, NoTLSUser, CertUser, MD5User, UnicodeUser, ReplicaUser} {
		fmt.Fprintf(&sql, "grant pg_write_all_data, pg_read_all_data, pg_signal_backend to %s;\n\n", name)
	}
	fmt.Fprintf(&sql, "grant pg_read_all_data to %s;\n\n", ReadOnlyUser)
	return sql.String()
}

// plain keeps what is safe in a file's name.
func plain(r rune) rune {
	switch {
	case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '.', r == '-':
		return r
	}
	return '_'
}

// digest tells one text from another.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

// mariadbSetup is run at each start: it does nothing the second time.
func mariadbSetup() string {
	var sql strings.Builder
	for _, name := range []string{Database, DatabaseDev, DatabaseProd} {
		fmt.Fprintf(&sql, "CREATE DATABASE IF NOT EXISTS %s;\n", name)
	}
	user := func(name, how, require string) {
		fmt.Fprintf(&sql, "CREATE USER IF NOT EXISTS '%s'@'%%' IDENTIFIED %s %s;\n", name, how, require)
		if name != ReadOnlyUser {
			fmt.Fprintf(&sql, "GRANT ALL ON *.* TO '%s'@'%%';\n", name)
		}
	}
	password := "VIA %s USING PASSWORD('" + Password + "')"
	user(NativeUser, fmt.Sprintf(password, "mysql_native_password"), "")
	user(Ed25519User, fmt.Sprintf(password, "ed25519"), "")
	user(TLSUser, fmt.Sprintf(password, "mysql_native_password"), "REQUIRE SSL")
	user(CertUser, fmt.Sprintf(password, "mysql_native_password"), "REQUIRE X509")
	user(ReadOnlyUser, fmt.Sprintf(password, "mysql_native_password"), "")
	user(EmptyUser, "BY ''", "")
	fmt.Fprintf(&sql, "GRANT SELECT ON *.* TO '%s'@'%%';\n", ReadOnlyUser)
	return sql.String()
}
