package probe

import (
	"context"
	"fmt"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// Ping asks whether the server serves. LOADING and MASTERDOWN are answers that
// say no, and so is a refused login. A user who may not PING, and a server that
// is busy with a script, are as well as can be known; one that cannot save (MISCONF)
// refuses PING and writes, but reads.
func (c *Conn) Ping(ctx context.Context) error {
	_, err := c.Do(ctx, "PING")
	if HasCode(err, "NOPERM", "BUSY", "MISCONF") {
		return nil
	}
	return err
}

// Absent asks for a key that means "under maintenance" where it exists.
func (c *Conn) Absent(ctx context.Context, key string) error {
	v, err := c.Do(ctx, "EXISTS", key)
	if err != nil {
		return err
	}
	if v.Kind != ':' || v.Int != 0 {
		return fmt.Errorf("key %q exists", key)
	}
	return nil
}

// Role asks for the server's ROLE and leaves its reading to package topology.
func (c *Conn) Role(ctx context.Context) (redisproto.Value, error) { return c.Do(ctx, "ROLE") }
