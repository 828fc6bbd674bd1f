package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/spf13/cobra"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy"
)

const demoShards = 4

func newDemo() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try the proxy with Redis shards inside this process",
		Long: "Run the proxy before four Redis shards that live in this process, and say what\n" +
			"to type. Nothing else is needed; Ctrl-C ends it.",
		Args: command.NoArgs,
		RunE: runDemo,
	}
	cmd.Flags().Int("port", 6380, "`port` on 127.0.0.1; if it is taken, the next free one")
	cmd.Flags().Bool("print-config", false, "print the document that the demo runs, too")
	runFlags(cmd.Flags())
	return cmd
}

func runDemo(cmd *cobra.Command, _ []string) error {
	s, err := newSettings(cmd)
	if err != nil {
		return err
	}
	o, err := s.options()
	if err != nil {
		return err
	}
	o.Log, o.Level, err = demoLogger(s, cmd)
	if err != nil {
		return err
	}
	shards, stop, err := startShards(demoShards)
	if err != nil {
		return err
	}
	defer stop()
	port, err := freePort(cmd.Context(), s.Number("port"))
	if err != nil {
		return exit.Temporary(err)
	}
	objs := []mesh.Object{demoDocument(port, shards)}
	o.Source = proxy.Memory(objs)
	if o.AdminAddress, err = demoAdmin(cmd.Context(), o.AdminAddress, cmd.Flags().Changed("admin-address")); err != nil {
		return err
	}
	if s.Bool("print-config") {
		text, err := documents(objs)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text)
	}
	out := cmd.OutOrStdout()
	return serve(cmd.Context(), o, func(ctx context.Context, p *proxy.Proxy) (func(), error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			if untilReady(ctx, p) {
				explain(out, port, s.Number("port"), o.AdminAddress, shards)
			}
		}()
		return func() { <-done }, nil
	})
}

// startShards runs Redis servers in this process.
func startShards(n int) (addrs []string, stop func(), err error) {
	var running []*miniredis.Miniredis
	stop = func() {
		for _, m := range running {
			m.Close()
		}
	}
	for range n {
		m := miniredis.NewMiniRedis()
		if err := m.StartAddr("127.0.0.1:0"); err != nil {
			stop()
			return nil, nil, fmt.Errorf("starting a Redis shard: %w", err)
		}
		running = append(running, m)
		addrs = append(addrs, m.Addr())
	}
	return addrs, stop, nil
}

func demoDocument(port int, shards []string) mesh.Object {
	env := mesh.Environment{}
	for i, addr := range shards {
		env.Shards = append(env.Shards, mesh.Shard{
			Name: "shard" + strconv.Itoa(i+1), Primary: mesh.Server{Address: addr},
		})
	}
	every, top := uint32(1), uint32(10)
	return mesh.NewAmbassador("demo", mesh.AmbassadorSpec{
		Protocol: mesh.ProtocolRedis,
		Listen:   mesh.Listen{Port: uint32(port)}, // a port
		Redis: &mesh.RedisSpec{
			Distribution: mesh.DistributionKetama,
			HashTag:      "{}",
			HotKeys:      &mesh.HotKeys{SampleRate: &every, Top: &top},
		},
		Environments:       map[string]mesh.Environment{"demo": env},
		DefaultEnvironment: "demo",
	})
}

// freePort finds the first free port of loopback from the given one on.
func freePort(ctx context.Context, first int) (int, error) {
	const attempts = 100
	var last error
	for port := first; port < first+attempts && port <= 65535; port++ {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, ln.Close()
		}
		if last = err; !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return 0, fmt.Errorf("looking for a free port from %d on: %w", first, last)
}

// demoAdmin is the admin address; one that nobody asked for moves to the next
// free port when it is taken.
func demoAdmin(ctx context.Context, address string, asked bool) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || asked {
		return address, nil //nolint:nilerr // "off", or for the admin server to complain about
	}
	first, err := strconv.Atoi(port)
	if err != nil {
		return "", exit.Usage(fmt.Errorf("--admin-address %q: %w", address, err))
	}
	free, err := freePort(ctx, first)
	if err != nil {
		return "", exit.Temporary(err)
	}
	return net.JoinHostPort(host, strconv.Itoa(free)), nil
}

func untilReady(ctx context.Context, p *proxy.Proxy) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ready, _ := p.Ready(); ready {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

func explain(w io.Writer, port, wanted int, admin string, shards []string) {
	if port != wanted {
		fmt.Fprintf(w, "Port %d is taken; %d is free.\n", wanted, port)
	}
	fmt.Fprintf(w, "One Redis on 127.0.0.1:%d, made of %d shards: ", port, len(shards))
	for i, s := range shards {
		if i > 0 {
			fmt.Fprint(w, ", ")
		}
		fmt.Fprint(w, s)
	}
	fmt.Fprintf(w, `

Type in another terminal:

  redis-cli -p %[1]d set hello world          # goes to the shard of its key
  redis-cli -p %[1]d get hello
  redis-cli -p %[1]d mset a 1 b 2 c 3 d 4     # split over the shards
  redis-cli -p %[1]d mget a b c d             # and put together again
  redis-cli -p %[1]d dbsize                   # asked of all, added up
`, port)
	if admin != "" && admin != "off" {
		fmt.Fprintf(w, `
  curl http://%[1]s/clusters             # the shards, their roles and health
  curl http://%[1]s/hotkeys              # the keys asked for most
  curl http://%[1]s/metrics              # for Prometheus
  curl http://%[1]s/config_dump          # the resources behind it
`, admin)
	}
	fmt.Fprintln(w, "\nCtrl-C ends it.")
}
