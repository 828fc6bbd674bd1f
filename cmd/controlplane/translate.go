package main

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/files"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
)

func newTranslate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "translate -f FILE...",
		Short: "Show what a proxy would get",
		Long: "Translate documents for one proxy, and write its xDS resources as YAML, sorted\n" +
			"and without secrets. The proxy is described by flags; with --pod its labels,\n" +
			"zone and node are those of a Pod among the documents. Exits with 64 if an object that\n" +
			"is for the proxy leads to nothing.",
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			docs, err := load(cmd)
			if err != nil {
				return err
			}
			node, store, err := imagined(cmd, docs)
			if err != nil {
				return exit.Usage(err)
			}
			set, conditions := translate.Translate(docs.Objects, node, store)
			if err := write(cmd.OutOrStdout(), &set, conditions); err != nil {
				return err
			}
			return refused(conditions)
		},
	}
	documentFlags(cmd)
	cmd.Flags().String("namespace", mesh.DefaultNamespace, "`name` of the proxy's namespace")
	cmd.Flags().String("pod", "", "`name` of its pod")
	cmd.Flags().StringToString("labels", nil, "`labels` of its pod, as app=web,tier=front")
	cmd.Flags().String("environment", "", "`name` of its environment, as the pod's label would say it")
	cmd.Flags().String("zone", "", "`zone` that it runs in")
	cmd.Flags().String("node", "", "`name` of the node that it runs on")
	return cmd
}

var errNoPod = errors.New("there is no such Pod among the documents, and no labels are given")

// imagined makes the node that flags describe.
func imagined(cmd *cobra.Command, docs *files.Documents) (translate.Node, *inventory.Store, error) {
	flag := func(name string) string {
		v, _ := cmd.Flags().GetString(name) // defined above
		return v
	}
	given, _ := cmd.Flags().GetStringToString("labels") // defined above
	store := docs.Inventory()
	labels, zone, nodeName := map[string]string{}, flag("zone"), flag("node")
	if name := flag("pod"); name != "" {
		pod := store.Pod(inventory.Key{Namespace: flag("namespace"), Name: name})
		switch {
		case pod != nil:
			maps.Copy(labels, pod.Labels)
			if zone == "" {
				zone = pod.Zone
			}
			if nodeName == "" {
				nodeName = pod.NodeName
			}
		case len(given) == 0:
			return translate.Node{}, nil, fmt.Errorf("--pod %s: %w", name, errNoPod)
		}
	}
	maps.Copy(labels, given)
	if environment := flag("environment"); environment != "" {
		labels[mesh.EnvironmentLabel] = environment
	}
	facts := mesh.NodeFacts{
		PodLabel: labels[mesh.EnvironmentLabel], Namespace: flag("namespace"), Hostname: flag("pod"),
	}
	if ns := store.Namespace(facts.Namespace); ns != nil {
		facts.NamespaceLabel = ns.Labels[mesh.EnvironmentLabel]
	}
	return translate.Node{Facts: facts, InCluster: true, Labels: labels, Zone: zone, NodeName: nodeName}, store, nil
}

// refused is an error if an object leads to nothing.
func refused(conditions []translate.Condition) error {
	var lines []string
	for _, c := range conditions {
		if !c.Status {
			lines = append(lines, fmt.Sprintf("%s: %s is false: %s: %s", c.Object, c.Type, c.Reason, c.Message))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return exit.Usage(errors.New(strings.Join(lines, "\n")))
}
