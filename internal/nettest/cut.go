package nettest

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// Cut pulls the cable of a host of this network namespace, which has to belong to the test (see kubetest.Suite): packets vanish without a word in both
// directions, nobody gets a reset, connections stay and hang. With a port it is that port's alone. The cable is back when mend is called, and when the
// test ends.
func Cut(tb redistest.TB, host netip.Addr, port uint16) (mend func()) {
	tb.Helper()
	name := "cut " + netip.AddrPortFrom(host, port).String()
	t := &nftables.Table{Name: strings.NewReplacer(" ", "_", ".", "_", ":", "_").Replace(name), Family: nftables.TableFamilyIPv4}
	change := func(what func(*nftables.Conn)) {
		tb.Helper()
		c, err := nftables.New()
		if err == nil {
			what(c)
			err = c.Flush()
		}
		if err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
	}
	change(func(c *nftables.Conn) {
		c.AddTable(t)
		chain := Chain(c, t, "all", nftables.ChainHookInput)
		const source, destination = 0, 1
		for _, side := range []uint32{source, destination} {
			match := is(expr.PayloadBaseNetworkHeader, 12+4*side, host.AsSlice())
			if port != 0 {
				match = append(match, is(expr.PayloadBaseTransportHeader, 2*side, binary.BigEndian.AppendUint16(nil, port))...)
			}
			Drop(c, chain, match...)
		}
	})
	there := true
	mend = func() {
		if there {
			there = false
			change(func(c *nftables.Conn) { c.DelTable(t) })
		}
	}
	tb.Cleanup(mend)
	return mend
}

// is matches bytes of a header.
func is(header expr.PayloadBase, offset uint32, want []byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: header, Offset: offset, Len: uint32(len(want))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: want},
	}
}

// Chain adds a chain of rules to a table.
func Chain(c *nftables.Conn, t *nftables.Table, name string, hook *nftables.ChainHook) *nftables.Chain {
	return c.AddChain(&nftables.Chain{
		Name: name, Table: t, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter,
	})
}

// Drop adds a rule that drops what matches.
func Drop(c *nftables.Conn, chain *nftables.Chain, match ...expr.Any) {
	c.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: append(match, &expr.Verdict{Kind: expr.VerdictDrop})})
}
