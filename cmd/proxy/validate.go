package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy"
)

func newValidate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate -f FILE...",
		Short: "Check documents without running them",
		Long: "Check documents as run would, for every environment that they have or for the\n" +
			"one that --environment names. Every error is reported, with file and line.\n" +
			"Files and variables that the documents name and that are not here are warnings,\n" +
			"since they may be where the documents run; --strict makes them errors.",
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, _ := cmd.Flags().GetStringArray("file")         // defined below
			environment, _ := cmd.Flags().GetString("environment") // defined below
			if len(files) == 0 {
				return exit.Usage(errors.New("no documents: name a file or folder with -f"))
			}
			strict, _ := cmd.Flags().GetBool("strict") // defined below
			report, err := proxy.Check(proxy.NewFiles(files), mesh.NodeFacts{Flag: environment})
			if strict {
				err = errors.Join(append([]error{err}, report.Warnings...)...)
			}
			if err != nil {
				return exit.Usage(err)
			}
			for _, w := range report.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s, no error", command.Number(report.Objects, "document"))
			if n := len(report.Warnings); n > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), ", %s", command.Number(n, "warning"))
			}
			fmt.Fprintln(cmd.OutOrStdout())
			return nil
		},
	}
	cmd.Flags().StringArrayP("file", "f", nil, "`file` or folder with documents; may be given several times")
	cmd.Flags().Bool("strict", false, "warnings are errors, as on the machine that will run the documents")
	cmd.Flags().String("environment", "", "check this `environment` only")
	return cmd
}
