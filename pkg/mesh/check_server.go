package mesh

import "fmt"

func (c *checker) serverSource(s *ServerSource, at string) {
	if s == nil {
		return
	}
	c.require((s.Address != "") != (s.Ambassador != nil), at, "needs exactly one of address and ambassador",
		`as in address: "127.0.0.1:6379", or ambassador: {name: cache}`)
	if s.Address != "" {
		if _, _, _, err := SplitAddress(s.Address); err != nil {
			c.fail(at+".address", "is not an address: "+err.Error(), `as in "127.0.0.1:6379"`)
		}
	}
	if s.Ambassador != nil {
		c.require(IsDNSLabel(s.Ambassador.Name), at+".ambassador.name", fmt.Sprintf("%q is not the name of an Ambassador", clip(s.Ambassador.Name)), "")
	}
	c.positive(s.Timeout, at+".timeout")
	c.sourceAuth(s.Auth, at+".auth")
	if a := s.Auth; a != nil {
		c.require(a.BearerTokenFile == "" && a.BearerTokenEnv == "" && a.BearerTokenSecret == nil, at+".auth", "has a bearer token, which this server does not know", "use a password")
	}
	c.sourceTLS(s.TLS, at+".tls")
}

// strays finds sources that name an Ambassador which the documents do not have, or
// which cannot be asked.
func strays(objs []Object) Errors {
	ambassadors := make(map[string]*Ambassador)
	for _, obj := range objs {
		if a, ok := obj.(*Ambassador); ok {
			ambassadors[a.Key()] = a
		}
	}
	var errs Errors
	for _, obj := range objs {
		a, ok := obj.(*Adapter)
		if !ok || a.Spec.Metrics == nil {
			continue
		}
		for i := range a.Spec.Metrics.Sources {
			server, protocol := a.Spec.Metrics.Sources[i].Server()
			if server == nil || server.Ambassador == nil || !IsDNSLabel(server.Ambassador.Name) {
				continue
			}
			at := fmt.Sprintf("spec.metrics.sources[%d].%s.ambassador.name", i, protocol)
			key := a.Metadata.Namespace + "/" + server.Ambassador.Name
			if named := ambassadors[key]; named == nil {
				errs = append(errs, errorAt(a, at, "there is no Ambassador "+key, "it is one of the same documents and namespace"))
			} else if reason, hint := server.Misfit(protocol, named); reason != "" {
				errs = append(errs, errorAt(a, at, reason, hint))
			}
		}
	}
	return errs
}
