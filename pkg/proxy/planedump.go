package proxy

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
)

// planeDump is what /config_dump shows of a control plane and of what it sent.
type planeDump struct {
	Server      string     `json:"server,omitempty"` // that is connected to
	Connected   bool       `json:"connected"`
	Since       time.Time  `json:"since,omitzero"` // of being connected, or not
	LastContact time.Time  `json:"lastContact,omitzero"`
	LastError   string     `json:"lastError,omitempty"`
	LastErrorAt time.Time  `json:"lastErrorAt,omitzero"`
	Protocol    string     `json:"protocol"` // delta or sotw
	Origin      string     `json:"origin"`   // of the running set: an address, or disk
	AppliedAt   time.Time  `json:"appliedAt,omitzero"`
	CacheError  string     `json:"cacheError,omitempty"`
	Types       []typeDump `json:"types"`
	Pending     []waitDump `json:"pending,omitempty"`
	Missing     []waitDump `json:"missing,omitempty"`
	Nacks       []nackDump `json:"nacks,omitempty"`
}

type typeDump struct {
	TypeURL   string         `json:"typeUrl"`
	Version   string         `json:"version,omitempty"` // of the last response
	Resources []resourceDump `json:"resources,omitempty"`
}

type resourceDump struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	Running bool   `json:"running"`
	Origin  string `json:"origin,omitempty"` // of what runs: the address of a control plane, or disk
	Version string `json:"version,omitempty"`
	Error   string `json:"error,omitempty"`
}

type waitDump struct {
	TypeURL string    `json:"typeUrl"`
	Name    string    `json:"name"`
	For     string    `json:"for,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Reason  string    `json:"reason,omitempty"`
}

type nackDump struct {
	Time    time.Time `json:"time"`
	TypeURL string    `json:"typeUrl"`
	Version string    `json:"version,omitempty"`
	Reason  string    `json:"reason"`
}

func dumpPlane(s *client.Status) *planeDump {
	d := &planeDump{
		Server: s.Server, Connected: s.Connected, Since: s.Since, LastContact: s.LastContact,
		LastError: s.LastError, LastErrorAt: s.LastErrorAt, Protocol: s.Mode.String(),
		Origin: s.Origin.String(), AppliedAt: s.AppliedAt, CacheError: s.CacheErr, Types: []typeDump{},
		Pending: dumpWaits(s.Pending), Missing: dumpWaits(s.Missing),
	}
	for _, t := range s.Types {
		td := typeDump{TypeURL: t.TypeURL, Version: t.Version}
		for _, r := range t.Resources {
			td.Resources = append(td.Resources, resourceDump{
				r.Name, string(r.State), r.Running, origin(s, &r), r.Version, r.Error,
			})
		}
		d.Types = append(d.Types, td)
	}
	for _, n := range s.Nacks {
		d.Nacks = append(d.Nacks, nackDump{n.At, n.TypeURL, n.Version, n.Reason})
	}
	return d
}

// origin is where the running version of a resource is from.
func origin(s *client.Status, r *client.ResourceStatus) string {
	if !r.Running {
		return ""
	}
	return client.Origin{Disk: r.Disk, Server: s.Origin.Server}.String()
}

func dumpWaits(list []client.Wait) []waitDump {
	var out []waitDump
	for _, w := range list {
		out = append(out, waitDump{w.TypeURL, w.Name, w.For, w.Since, w.Reason})
	}
	return out
}
