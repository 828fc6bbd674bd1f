// Package diskset is the file in which a proxy keeps the last set of resources
// that ran, to start from while no control plane answers.
//
// The file begins with two lines of text: a magic word, and a JSON object that
// says the format, where the set came from, and length and SHA-256 of the rest.
// The rest is an envoy.service.discovery.v3.DeltaDiscoveryResponse with all
// resources and their versions. It is replaced as a whole, never changed.
//
// No secret gets into it: SDS secrets are refused, and so is every resource
// that holds a value which Envoy's API marks as sensitive.
package diskset
