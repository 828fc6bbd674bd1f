package proxy

import (
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestNoteOfWhatIsFromDisk: a control plane that is there and says nothing of what runs is
// worth a word.
func TestNoteOfWhatIsFromDisk(t *testing.T) {
	t.Parallel()
	resources := func(names ...string) (out []client.ResourceStatus) {
		for _, name := range names {
			out = append(out, client.ResourceStatus{Name: name, State: client.StateRunning, Running: true, Disk: name != "shop/new"})
		}
		return out
	}
	for want, s := range map[string]client.Status{
		"": {Connected: true, Types: []client.TypeStatus{{TypeURL: resource.ListenerType, Resources: resources("shop/new")}}},
		`from disk, as the control plane says nothing of it: Cluster "shop/cache/prod", Listener "shop/cache"`: {
			Connected: true, Origin: client.Origin{Disk: true}, Types: []client.TypeStatus{
				{TypeURL: resource.ClusterType, Answered: true, Resources: resources("shop/cache/prod", "shop/new")},
				{TypeURL: resource.ListenerType, Answered: true, Resources: resources("shop/cache")},
			},
		},
		`from disk, as the control plane says nothing of it: Listener "a", Listener "b", Listener "c", Listener "d", Listener "e", and 2 more`: {
			Connected: true, Origin: client.Origin{Disk: true}, Types: []client.TypeStatus{
				{TypeURL: resource.ListenerType, Answered: true, Resources: resources("a", "b", "c", "d", "e", "f", "g")},
			},
		},
		"configuration from disk, the control plane has not answered yet": {
			Connected: true, Origin: client.Origin{Disk: true}, Types: []client.TypeStatus{
				{TypeURL: resource.ListenerType, Resources: resources("shop/cache")},
			},
		},
		"configuration from disk, control plane unreachable": {Origin: client.Origin{Disk: true}},
	} {
		if got := note(&s); got != want {
			t.Errorf("the note is %q, want %q", got, want)
		}
	}
}
