package trust_test

import (
	"errors"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/controlplane/trust"
)

// FuzzParseNodes: a file is taken or refused as such, and whoever is in one that
// is taken has a name and a namespace.
func FuzzParseNodes(f *testing.F) {
	f.Add(nodesFile)
	f.Add("nodes: [{name: a, token: 0123456789abcdef}]")
	f.Add("nodes: [{<<: {name: a}, uri: 'spiffe://x'}]")
	f.Add("nodes: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		nodes, err := trust.ParseNodes("nodes.yaml", []byte(text))
		if err != nil {
			if !errors.Is(err, trust.ErrNodes) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		for _, pod := range nodes.Pods() {
			if pod.Name == "" || pod.Namespace == "" || pod.UID == "" {
				t.Errorf("a nobody: %+v", pod)
			}
		}
	})
}
