package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/files"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
)

func newValidate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate -f FILE...",
		Short: "Check documents without serving them",
		Long: "Check documents as run -f would: mesh objects, and the Services, Secrets, Pods\n" +
			"and Namespaces beside them. Every error is reported, with file and line.",
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			docs, err := load(cmd)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s, no error\n", command.Number(docs.Count(), "document"))
			return nil
		},
	}
	documentFlags(cmd)
	return cmd
}

// documentFlags are those of commands that only read documents.
func documentFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayP("file", "f", nil, "`file` or folder with documents; may be given several times")
	cmd.Flags().String("nodes-file", "", "`file` with the proxies outside Kubernetes")
}

// load reads what documentFlags name.
func load(cmd *cobra.Command) (*files.Documents, error) {
	paths, _ := cmd.Flags().GetStringArray("file")  // defined above
	nodes, _ := cmd.Flags().GetString("nodes-file") // defined above
	if len(paths) == 0 {
		return nil, exit.Usage(errNoDocuments)
	}
	docs, err := files.Load(paths, nodes)
	if err != nil {
		return nil, exit.Usage(err)
	}
	return docs, nil
}
