package proxy

// planeDump is what /config_dump shows of a control plane.
type planeDump struct{}
