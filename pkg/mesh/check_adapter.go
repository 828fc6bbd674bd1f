package mesh

func checkAdapter(a *Adapter, o options) Errors {
	c := &checker{options: o, obj: a}
	c.metadata(a.APIVersion, &a.Metadata)
	c.selector(a.Spec.Selector)
	c.require(count(a.Spec.Metrics != nil, a.Spec.API != nil, a.Spec.Logs != nil) == 1, "spec", "needs exactly one of metrics, api and logs", "")
	if a.Spec.Metrics != nil {
		c.metrics(a.Spec.Metrics, "spec.metrics")
	}
	if a.Spec.API != nil {
		c.apiAdapter(a.Spec.API, "spec.api")
	}
	if a.Spec.Logs != nil {
		c.logs(a.Spec.Logs, "spec.logs")
	}
	return c.errs
}
