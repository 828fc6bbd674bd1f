// Package capture takes connections of this network namespace to the proxy, wherever they were to go. README.md says what for, and its price.
package capture

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// table is ours alone: other tables of the pod are not touched.
const table = "dragoman_capture"

// Offset and length of the destination port, in bytes of TCP's header (RFC 9293 section 3.1).
const (
	portOffset = 2
	portLength = 2
)

// ErrNotAllowed says that this process may not change the network.
var ErrNotAllowed = errors.New("not allowed: the container needs the capability NET_ADMIN, as root")

// Install captures ports, but for connections of a user. What was captured before is so no more. All of it happens at once or not at all.
func Install(ports []mesh.CapturePort, exceptUser uint32) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("speaking to nftables: %w", err)
	}
	t := cleared(c)
	c.AddTable(t)
	chain := c.AddChain(&nftables.Chain{
		Name: "output", Table: t, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(exceptUser)},
		&expr.Verdict{Kind: expr.VerdictReturn},
	}})
	c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
		&expr.Verdict{Kind: expr.VerdictReturn},
	}})
	for _, p := range ports {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: portOffset, Len: portLength},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(p.From)},
			&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(p.To)},
			&expr.Redir{RegisterProtoMin: 1, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED},
		}})
	}
	return flush(c)
}

// Remove captures nothing any more.
func Remove() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("speaking to nftables: %w", err)
	}
	cleared(c)
	return flush(c)
}

// cleared deletes the table, whether it is there or not.
func cleared(c *nftables.Conn) *nftables.Table {
	t := &nftables.Table{Name: table, Family: nftables.TableFamilyINet}
	c.AddTable(t)
	c.DelTable(t)
	return t
}

func flush(c *nftables.Conn) error {
	err := c.Flush()
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %w", ErrNotAllowed, err)
	case err != nil:
		return fmt.Errorf("changing the rules of nftables: %w", err)
	}
	return nil
}
