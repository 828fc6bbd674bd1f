package gauge

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Relay is the name of the contender that is the floor of a benchmark: a relay in C
// that passes connections on one to one and does nothing else. It takes its own port
// and a server's, both on 127.0.0.1.
const Relay = "relay"

//go:embed relay/relay.c
var relaySource []byte

// EnsureRelay compiles the relay into a folder if it is asked for. Where there is no
// C compiler the benchmark goes on without it.
func (o *Options) EnsureRelay(ctx context.Context, dir string) error {
	if !slices.Contains(o.Contenders, Relay) {
		return nil
	}
	if compiler, _ := exec.LookPath("cc"); compiler == "" {
		Note("no C compiler (cc), so no %s", Relay)
		o.Contenders = slices.DeleteFunc(slices.Clone(o.Contenders), func(name string) bool { return name == Relay })
		return nil
	}
	o.Relay = filepath.Join(dir, Relay)
	cmd := exec.CommandContext(ctx, "cc", "-O2", "-x", "c", "-o", o.Relay, "-")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(relaySource), os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building the relay: %w", err)
	}
	return nil
}
