package mesh

// How pods get their proxy.
const (
	// InjectLabel of a namespace is InjectEnabled where pods get a proxy; that of a
	// pod, or its annotation of this name, is InjectDisabled where it gets none.
	InjectLabel    = "mesh.dragoman.io/inject"
	InjectEnabled  = "enabled"
	InjectDisabled = "disabled"
	// InjectedAnnotation is what a pod has that got its proxy.
	InjectedAnnotation = "mesh.dragoman.io/injected"
	// InjectedContainer is the name of the proxy that it got.
	InjectedContainer = "dragoman-proxy"
)

// InjectOptedOut reports whether a pod is not to have a proxy.
func InjectOptedOut(labels, annotations map[string]string) bool {
	return labels[InjectLabel] == InjectDisabled || annotations[InjectLabel] == InjectDisabled
}
