package proxy

import (
	"net"
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/listener"
	"github.com/dragoman-mesh/dragoman/pkg/upstream"
)

// What /clusters and /listeners show as JSON is what Envoy does, envoy.admin.v3's
// Clusters and Listeners, with what this proxy knows besides in the same objects.
type (
	clusters struct {
		Statuses []clusterStatus `json:"cluster_statuses"`
	}
	clusterStatus struct {
		upstream.ClusterView
		Endpoints struct{}     `json:"endpoints,omitzero"` // they are in Hosts
		Hosts     []hostStatus `json:"host_statuses"`
	}
	hostStatus struct {
		upstream.EndpointView
		Address  address  `json:"address"` // not the text that EndpointView has
		Health   health   `json:"health_status"`
		Locality locality `json:"locality,omitzero"`
	}
	health struct {
		EDS           string `json:"eds_health_status"`
		FailedCheck   bool   `json:"failed_active_health_check,omitempty"`
		FailedOutlier bool   `json:"failed_outlier_check,omitempty"`
	}
	locality struct {
		Zone string `json:"zone"`
	}

	listeners struct {
		Statuses []listenerStatus `json:"listener_statuses"`
	}
	listenerStatus struct {
		listener.Status
		Local address `json:"local_address,omitzero"`
	}

	address struct {
		Socket socket `json:"socket_address,omitzero"`
		Pipe   pipe   `json:"pipe,omitzero"`
	}
	socket struct {
		Address string `json:"address"`
		Port    uint64 `json:"port_value"`
	}
	pipe struct {
		Path string `json:"path"`
	}
)

// addressOf reads "host:port", or the path of a unix socket.
func addressOf(text string) address {
	host, port, err := net.SplitHostPort(text)
	number, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil {
		return address{Pipe: pipe{text}}
	}
	return address{Socket: socket{host, number}}
}

func clusterStatuses(list []upstream.ClusterView) clusters {
	out := clusters{Statuses: make([]clusterStatus, len(list))}
	for i, c := range list {
		s := clusterStatus{ClusterView: c, Hosts: make([]hostStatus, len(c.Endpoints))}
		for i, e := range c.Endpoints {
			s.Hosts[i] = hostStatus{
				EndpointView: e, Address: addressOf(e.Address), Locality: locality{e.Zone},
				Health: health{EDS: "HEALTHY", FailedCheck: e.CheckFailing, FailedOutlier: !e.Healthy && !e.CheckFailing},
			}
		}
		out.Statuses[i] = s
	}
	return out
}

func listenerStatuses(list []listener.Status) listeners {
	out := listeners{Statuses: make([]listenerStatus, len(list))}
	for i, l := range list {
		out.Statuses[i] = listenerStatus{l, addressOf(l.Address)}
	}
	return out
}
