package podtest

import (
	"fmt"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
)

// Loss is what a network that is broken does not carry.
type Loss struct {
	Sent     bool // what the pod sends
	Received bool // what is sent to the pod
}

// Lose drops packets without a word, by rules in the pod's own network namespace: nobody gets a reset, connections stay and hang. Localhost works. The zero
// Loss mends it.
func (p *Pod) Lose(what Loss) {
	p.tb.Helper()
	if err := p.lose(what); err != nil {
		p.tb.Fatalf("pod %s: losing packets: %v", p.pod.Name, err)
	}
}

func (p *Pod) lose(what Loss) error {
	there, err := os.Open(p.netns)
	if err != nil {
		return err
	}
	defer there.Close()
	c, err := nftables.New(nftables.WithNetNSFd(int(there.Fd())))
	if err != nil {
		return fmt.Errorf("speaking to nftables: %w", err)
	}
	t := &nftables.Table{Name: "partition", Family: nftables.TableFamilyINet}
	c.AddTable(t)
	c.DelTable(t) // which has to be there
	c.AddTable(t)
	if what.Sent {
		drop(c, t, "sent", nftables.ChainHookOutput, expr.MetaKeyOIFNAME)
	}
	if what.Received {
		drop(c, t, "received", nftables.ChainHookInput, expr.MetaKeyIIFNAME)
	}
	return c.Flush()
}

// drop makes a chain that drops what does not go by the loopback interface.
func drop(c *nftables.Conn, t *nftables.Table, name string, hook *nftables.ChainHook, device expr.MetaKey) {
	const nameLength = 16 // of an interface's, in bytes (IFNAMSIZ)
	loopback := make([]byte, nameLength)
	copy(loopback, "lo")
	nettest.Drop(c, nettest.Chain(c, t, name, hook),
		&expr.Meta{Key: device, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: loopback})
}
