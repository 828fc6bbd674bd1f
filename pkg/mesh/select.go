package mesh

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// NodeFacts are what may tell a node its environment. "" means not known.
type NodeFacts struct {
	Flag           string // of --environment
	EnvVar         string // of DRAGOMAN_ENVIRONMENT
	PodLabel       string // value of EnvironmentLabel on the pod
	NamespaceLabel string // value of EnvironmentLabel on the namespace
	Namespace      string // its name
	Hostname       string
}

// EnvironmentError says why a node has no environment. It is meant for people.
type EnvironmentError struct {
	Object string // "namespace/name"
	Reason string
}

// Error implements error.
func (e *EnvironmentError) Error() string { return e.Object + ": " + e.Reason }

// SelectEnvironment finds the environment of a node, and what decided it. The
// first that answers does: flag, variable, label of the pod, label of the
// namespace, the first rule that matches, the default. An answer that the
// ambassador does not know is refused and not passed over: falling back could
// lead a test into production.
func SelectEnvironment(a *Ambassador, facts NodeFacts) (environment, source string, err error) {
	answers := []struct{ environment, source string }{
		{facts.Flag, "--environment"},
		{facts.EnvVar, "DRAGOMAN_ENVIRONMENT"},
		{facts.PodLabel, "pod label " + EnvironmentLabel},
		{facts.NamespaceLabel, "namespace label " + EnvironmentLabel},
	}
	for _, answer := range answers {
		if answer.environment != "" {
			return known(a, answer.environment, answer.source)
		}
	}
	for i, rule := range a.Spec.EnvironmentRules {
		if what := rule.matches(facts); what != "" {
			return known(a, rule.Environment, fmt.Sprintf("environmentRules[%d] (%s)", i, what))
		}
	}
	if a.Spec.DefaultEnvironment != "" {
		return known(a, a.Spec.DefaultEnvironment, "defaultEnvironment")
	}
	return "", "", &EnvironmentError{a.Key(), fmt.Sprintf(
		"nothing says which of the environments %s this is: set --environment or DRAGOMAN_ENVIRONMENT, "+
			"label the pod or the namespace %s, or give the object environmentRules or a defaultEnvironment",
		strings.Join(slices.Sorted(maps.Keys(a.Spec.Environments)), ", "), EnvironmentLabel)}
}

func known(a *Ambassador, environment, source string) (string, string, error) {
	if _, ok := a.Spec.Environments[environment]; ok {
		return environment, source, nil
	}
	return "", "", &EnvironmentError{a.Key(), fmt.Sprintf(
		"there is no environment %q, which is what %s says; there are %s",
		clip(environment), source, strings.Join(slices.Sorted(maps.Keys(a.Spec.Environments)), ", "))}
}

// matches says which fact a rule fits, or "".
func (r EnvironmentRule) matches(facts NodeFacts) string {
	if ok, _ := path.Match(r.Match, facts.Namespace); ok && facts.Namespace != "" {
		return "namespace " + facts.Namespace
	}
	if ok, _ := path.Match(r.Match, facts.Hostname); ok && facts.Hostname != "" {
		// Not which host it is: a control plane says the same to all that match.
		return "host like " + r.Match
	}
	return ""
}
