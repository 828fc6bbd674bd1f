// Command controlplane watches Kubernetes or a folder and serves proxies their
// configuration over xDS.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
)

func main() {
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args[1:])
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exit.OK
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "controlplane: %s\n", strings.TrimSuffix(line, "\n"))
	}
	return exit.Code(err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "controlplane",
		Short: "Tells proxies what to run",
		Long: "Follows the mesh objects of Kubernetes or of a folder, and the Services,\n" +
			"Secrets, Pods and Namespaces that they speak of, and serves every proxy what is\n" +
			"meant for it over xDS. Settings come from flags, from DRAGOMAN_* variables, and\n" +
			"from the file that --config names, in this order of strength.",
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return exit.Usage(fmt.Errorf("unknown command %q; see controlplane --help", args[0]))
			}
			return nil
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exit.Usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
	})
	root.AddCommand(newRun(), newTranslate(), newValidate(), newProxies(), command.NewVersion("controlplane"))
	return root
}

var errNoDocuments = errors.New("no documents: name a file or folder with -f")
