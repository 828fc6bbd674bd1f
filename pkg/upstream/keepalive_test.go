package upstream

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		spec *resource.TCPKeepalive
		want netloop.KeepAlive
	}{
		{"nothing said", nil, netloop.KeepAlive{Idle: 30 * time.Second}},
		{"the kernel's", &resource.TCPKeepalive{}, netloop.KeepAlive{Idle: 2 * time.Hour, Interval: 75 * time.Second, Probes: 9}},
		{
			"everything said", &resource.TCPKeepalive{Time: time.Minute, Interval: time.Second, Probes: 2},
			netloop.KeepAlive{Idle: time.Minute, Interval: time.Second, Probes: 2},
		},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := testSet(t, nil)
			c := spec("c")
			c.TCPKeepalive = tt.spec
			apply(t, s, c)
			if diff := cmp.Diff(tt.want, running(t, s, "c").Table().Options.KeepAlive); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
