// Command controlplane watches Kubernetes or a folder and serves proxies their
// configuration over xDS.
package main

import (
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
)

func main() {
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	return command.Run(newRoot(), args[1:], stdout, stderr)
}

func newRoot() *cobra.Command {
	root := command.Root(&cobra.Command{
		Use:   "controlplane",
		Short: "Tells proxies what to run",
		Long: "Follows the mesh objects of Kubernetes or of a folder, and the Services,\n" +
			"Secrets, Pods and Namespaces that they speak of, and serves every proxy what is\n" +
			"meant for it over xDS. Settings come from flags, from DRAGOMAN_* variables, and\n" +
			"from the file that --config names, in this order of strength.",
	})
	root.AddCommand(newRun(), newTranslate(), newValidate(), newProxies(), command.NewVersion("controlplane"))
	return root
}

var errNoDocuments = errors.New("no documents: name a file or folder with -f")
