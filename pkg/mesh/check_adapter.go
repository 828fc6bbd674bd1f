package mesh

func checkAdapter(a *Adapter, o options) Errors {
	c := &checker{options: o, obj: a}
	c.metadata(a.APIVersion, &a.Metadata)
	c.selector(a.Spec.Selector)
	c.require((a.Spec.Metrics != nil) != (a.Spec.API != nil), "spec", "needs exactly one of metrics and api", "")
	if a.Spec.Metrics != nil {
		c.metrics(a.Spec.Metrics, "spec.metrics")
	}
	if a.Spec.API != nil {
		c.apiAdapter(a.Spec.API, "spec.api")
	}
	return c.errs
}
