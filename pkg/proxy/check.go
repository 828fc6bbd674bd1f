package proxy

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// Report is what Check has found besides errors.
type Report struct {
	Objects int
	// Warnings are about files and variables that documents name and that are not
	// here, or not to be read. Where the documents run they may be.
	Warnings []error
}

// Check validates what a source holds: for the environment that facts name, or
// for every environment of every object when they name none.
func Check(source Source, facts mesh.NodeFacts) (Report, error) {
	objs, err := source.Load()
	if err != nil {
		return Report{Objects: len(objs)}, err
	}
	c := &check{objs: objs, report: Report{Objects: len(objs)}, said: map[string]bool{}}
	if len(objs) == 0 {
		c.report.Warnings = append(c.report.Warnings, fmt.Errorf("no document in %s: run would serve nobody", strings.Join(source.Paths(), ", ")))
	}
	c.descriptors()
	c.metricsFiles()
	if facts != (mesh.NodeFacts{}) {
		c.look(Snapshot(objs, facts))
		return c.report, errors.Join(c.errs...)
	}
	for _, obj := range objs {
		environments := []string{""} // an Adapter is the same in all
		if a, ok := obj.(*mesh.Ambassador); ok {
			environments = slices.Sorted(maps.Keys(a.Spec.Environments))
		}
		for _, name := range environments {
			out := translate.ObjectOf(objs, obj, translate.Variant{Environment: name})
			c.look(built(out.Set, out.Conditions))
		}
	}
	return c.report, errors.Join(c.errs...)
}

// check is a Check that is under way.
type check struct {
	objs   []mesh.Object
	report Report
	errs   []error
	said   map[string]bool // of secrets
}

// look reads what the secrets of a snapshot name: here, as run would. What is not
// there is a warning; what is there and no good is an error.
func (c *check) look(snap *snapshot.Snapshot, err error) {
	if err != nil {
		c.errs = append(c.errs, err)
		return
	}
	for _, one := range everyError(secrets.NewStore(list(snap.Secrets)).Check()) {
		bad, ok := errors.AsType[*secrets.CheckError](one)
		if !ok {
			continue
		}
		hint := needed
		if awaited(bad, snap.Secrets[bad.Secret]) {
			hint = "run begins without it, and apps wait or get errors until it is there"
		}
		found := placed(c.objs, bad, snap.Secrets[bad.Secret], hint)
		if c.said[found.Error()] {
			continue // in another environment
		}
		c.said[found.Error()] = true
		if notHere(bad) {
			c.report.Warnings = append(c.report.Warnings, found)
		} else {
			c.errs = append(c.errs, found)
		}
	}
}

// located says of secrets that cannot be read where they are in the documents.
func located(err error, objs []mesh.Object, snap *snapshot.Snapshot) error {
	all := everyError(err)
	for i, one := range all {
		if bad, ok := errors.AsType[*secrets.CheckError](one); ok {
			all[i] = placed(objs, bad, snap.Secrets[bad.Secret], "")
		}
	}
	return errors.Join(all...)
}

// placed says where a secret that cannot be read is in the documents; hint is for one
// that is not here.
func placed(objs []mesh.Object, bad *secrets.CheckError, secret *resource.Secret, hint string) *mesh.Error {
	name, reason := "", strings.TrimPrefix(bad.Error(), fmt.Sprintf("secret %q: ", bad.Secret))
	if file, ok := errors.AsType[*fs.PathError](bad); ok {
		name, reason = file.Path, reasonOf(file)
	}
	for _, source := range sourcesOf(secret) {
		if name == "" {
			name = source.Filename + source.Env // there is one of them
		}
	}
	if !notHere(bad) {
		hint = "in " + name
	}
	return mesh.ErrorAtName(objs, name, reason, hint)
}

const needed = "run does not begin without it"

// notHere reports whether what is wrong is that a file or a variable is not here, or
// not to be read.
func notHere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, secrets.ErrEnv)
}

// reasonOf leaves out of a file's error what was done to it.
func reasonOf(err error) string {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return file.Path + ": " + file.Err.Error()
	}
	return err.Error()
}

// sourcesOf lists where a secret comes from.
func sourcesOf(s *resource.Secret) []resource.DataSource {
	var all []resource.DataSource
	for _, key := range slices.Sorted(maps.Keys(s.Generic)) {
		all = append(all, s.Generic[key])
	}
	if c := s.Certificate; c != nil {
		all = append(all, c.Chain, c.Key)
	}
	if v := s.Validation; v != nil {
		all = append(all, v.CA)
	}
	return all
}
