// Package files lets a control plane run without Kubernetes: mesh documents,
// and the Services, EndpointSlices, Secrets, ConfigMaps, Pods and Namespaces
// that they speak of as plain Kubernetes YAML, all in the files of a folder that
// is followed while it changes.
//
// Reading is strict: an unknown or doubled key is an error with file and line,
// and as long as there is an error anywhere, all stays as it was before.
package files
