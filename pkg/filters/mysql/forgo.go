package mysql

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// maxForgone is how many logins of a process nobody waits for: others are dropped, so
// that somebody who knocks all the time does not take all that a slow server has room for.
const maxForgone = 16

// forgo gives up a login that nobody waits for any more. A server counts connections
// that end before the greeting is answered against the host that they come from, and
// blocks that at a hundred in a row (max_connect_errors): all apps that share its
// address, since somebody looks from time to time whether a port is open. So the
// proxy logs in and takes its leave, unless the credentials are refused now.
func (g *login) forgo(b *Builder, r *database.Rotation) {
	if _, already := g.owner.(*forgone); already {
		return
	}
	ok, _ := r.MayTry(*g.by, false, time.Now())
	if g.dropped || g.stage > introduced || !ok {
		g.drop()
		return
	}
	if b.forgone.Add(1) > maxForgone {
		b.forgone.Add(-1)
		g.drop()
		return
	}
	to := *g.to // the session may go on at another server
	g.to = &to
	x := &forgone{b, g, r}
	g.owner = x
	if g.stage == introduced {
		x.introduced()
	}
}

// forgone is the owner of such a login.
type forgone struct {
	b        *Builder
	login    *login
	rotation *database.Rotation
}

// introduced implements loginOwner.
func (x *forgone) introduced() { x.login.enter(ownResponse(&x.login.greeting)) }

// entered implements loginOwner.
func (x *forgone) entered([]byte) {
	x.b.forgone.Add(-1)
	database.TakeLeave(x.login.conn, quit())
}

// denied implements loginOwner.
func (x *forgone) denied(e *mysqlproto.ServerError, _ []byte) {
	x.b.forgone.Add(-1)
	if e.Errno == mysqlproto.ErrnoAccessDenied {
		x.rotation.Refused(*x.login.by, time.Now())
	}
}

// broken implements loginOwner.
func (x *forgone) broken(error) { x.b.forgone.Add(-1) }

// ownResponse is the answer to a greeting on the proxy's own behalf.
func ownResponse(g *mysqlproto.Greeting) mysqlproto.HandshakeResponse {
	return mysqlproto.HandshakeResponse{
		Capabilities: mysqlproto.LongPassword | mysqlproto.Protocol41 | mysqlproto.SecureConnection | mysqlproto.Transactions |
			g.Capabilities&(mysqlproto.PluginAuth|mysqlproto.PluginAuthLenenc),
		MaxPacket: 1 << 24, Charset: 45, // utf8mb4
	}
}
