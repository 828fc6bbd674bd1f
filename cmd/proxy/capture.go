package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/dragoman-mesh/dragoman/pkg/capture"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// injectedUser is that of proxies in pods.
const injectedUser = 65532

func newCapture() *cobra.Command {
	var (
		ports  string
		user   uint32
		remove bool
	)
	cmd := &cobra.Command{
		Use:   "capture --ports PORTS",
		Short: "Take connections of this pod to Ambassadors, wherever they were to go",
		Long: `Take connections of this network namespace to Ambassadors, wherever they were to
go: for apps whose address cannot be changed. Ports are separated by commas, each
the app's, or a pair of the app's and the Ambassador's:

  $ proxy capture --ports 6379,5432:15432

What the user of the proxy sends is left alone. Needs the capability NET_ADMIN, as
root; init containers that are injected have it (mesh.dragoman.io/capture-ports).`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if remove {
				return capture.Remove()
			}
			if ports == "" {
				return exit.Usage(errors.New("--ports is missing: the ports to capture"))
			}
			list, err := mesh.ParseCapturePorts(ports)
			if err != nil {
				return exit.Usage(err)
			}
			return capture.Install(list, user)
		},
	}
	f := cmd.Flags()
	f.StringVar(&ports, "ports", "", "`list` of ports")
	f.Uint32Var(&user, "except-user", injectedUser, "`id` of the user whose connections are left alone: the proxy's")
	f.BoolVar(&remove, "remove", false, "capture nothing any more")
	return cmd
}
