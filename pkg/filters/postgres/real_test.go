package postgres

import (
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// TestLogin: an app that knows nothing gets a session of the environment's user,
// in its database, whatever way the server asks for the password.
func TestLogin(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	for _, user := range []string{dbtest.SCRAMUser, dbtest.MD5User, dbtest.TrustUser, dbtest.UnicodeUser} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			f := start(t, config(), server.Addr())
			f.world.Set("user", user)
			if user == dbtest.UnicodeUser {
				f.world.Set("password", dbtest.UnicodePassword)
			}
			if got := f.must("select current_user, current_database()"); got != user+"|"+dbtest.Database {
				t.Errorf("got %q", got)
			}
		})
	}
}
