package snapshot_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// BenchmarkOneEndpointOfMany replaces the endpoints of one cluster among 50 with
// ten endpoints each.
func BenchmarkOneEndpointOfMany(b *testing.B) {
	var doc strings.Builder
	for i := range 50 {
		fmt.Fprintf(&doc, "apiVersion: mesh.dragoman.io/v1alpha1\nkind: Ambassador\nmetadata: {name: a%d}\nspec:\n  protocol: redis\n  listen: {port: %d}\n  environments: {test: {shards: [", i, 7000+i)
		for j := range 10 {
			fmt.Fprintf(&doc, "{name: s%d, primary: {address: \"10.0.%d.%d:6379\"}}, ", j, i, j+1)
		}
		doc.WriteString("]}}\n---\n")
	}
	objs, wrong := mesh.Decode("bench", []byte(doc.String()))
	if err := wrong.Err(); err != nil {
		b.Fatal(err)
	}
	set, _ := translate.Translate(objs, translate.Node{Facts: mesh.NodeFacts{Flag: "test"}}, nil)
	prev, err := snapshot.Build(set)
	if err != nil {
		b.Fatal(err)
	}
	other := proto.CloneOf(set.Clusters[7])
	for i := 0; b.Loop(); i++ {
		set.Clusters[7], other = other, set.Clusters[7]
		next, err := snapshot.Next(prev, set)
		if err != nil {
			b.Fatal(err)
		}
		snapshot.Compare(prev, next)
		prev = next
	}
}
