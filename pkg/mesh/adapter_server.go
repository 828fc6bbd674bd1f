package mesh

import "net/netip"

// +kubebuilder:validation:XValidation:rule="has(self.address) != has(self.ambassador)",message="exactly one of address and ambassador is needed"

// ServerSource is a server that has statistics of its own: exactly one of Address
// and Ambassador says where it is.
type ServerSource struct {
	// Address is "host:port", "[v6]:port" or the path of a unix socket.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=260
	Address string `json:"address,omitempty"`
	// Ambassador is asked instead, as the app does: where the server is, its login
	// and its TLS are the Ambassador's, and change with its environment.
	Ambassador *AmbassadorRef `json:"ambassador,omitempty"`
	// Database that is connected to; default that of the user. Redis has none.
	// +kubebuilder:validation:MaxLength=63
	Database string `json:"database,omitempty"`
	// Auth is a user name (databases: default dragoman) and a password. An Ambassador that asks the app for none
	// needs none here.
	Auth *SourceAuth `json:"auth,omitempty"`
	// TLS; absent: plain text. An Ambassador has it where its listen.tls says so.
	TLS *SourceTLS `json:"tls,omitempty"`
	// Timeout bounds one look, which also ends shortly before Prometheus stops
	// waiting; default 5s.
	Timeout *Duration `json:"timeout,omitempty"`
}

// AmbassadorRef names an Ambassador of the Adapter's own namespace, which is for
// the same pods: it is asked inside of the pod.
type AmbassadorRef struct {
	// Name of the Ambassador.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
}

// Server gives a source that is a server, with what is spoken there, or nil.
func (s *MetricsSource) Server() (*ServerSource, Protocol) {
	switch {
	case s.Redis != nil:
		return s.Redis, ProtocolRedis
	case s.Postgres != nil:
		return s.Postgres, ProtocolPostgres
	case s.MySQL != nil:
		return s.MySQL, ProtocolMySQL
	}
	return nil, ""
}

// Local is the address at which what listens is reached from the same pod:
// "host:port", or the path of a unix socket.
func (l *Listen) Local() string {
	if l.Path != "" {
		return l.Path
	}
	ip, err := netip.ParseAddr(l.Address)
	switch {
	case err != nil || ip == netip.IPv4Unspecified():
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case ip == netip.IPv6Unspecified():
		ip = netip.IPv6Loopback()
	}
	return netip.AddrPortFrom(ip, uint16(l.Port)).String()
}

// Misfit says why a source of a protocol cannot ask an Ambassador, and what to do;
// "": it can.
func (s *ServerSource) Misfit(protocol Protocol, a *Ambassador) (reason, hint string) {
	speaksTLS := a.Spec.Listen.TLS != nil
	switch {
	case a.Spec.Protocol != protocol:
		return "the Ambassador " + a.Key() + " speaks " + string(a.Spec.Protocol), "name one of protocol " + string(protocol)
	case speaksTLS && s.TLS == nil:
		return "the Ambassador " + a.Key() + " wants TLS where it listens", "set tls"
	case !speaksTLS && s.TLS != nil:
		return "the Ambassador " + a.Key() + " does not speak TLS where it listens", "remove tls: what it speaks to the server is its own"
	}
	return "", ""
}
