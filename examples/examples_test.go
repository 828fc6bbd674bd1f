// Package examples_test keeps the examples true.
package examples_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// Every example is valid, and makes a snapshot in each of its environments.
func TestExamples(t *testing.T) {
	t.Parallel()
	examples(t, "*.yaml")
}

// So are those for a control plane, where what they refer to is there.
func TestKubernetesExamples(t *testing.T) {
	t.Parallel()
	examples(t, "kubernetes/*.yaml", mesh.InCluster())
}

func examples(t *testing.T, pattern string, opts ...mesh.Option) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatal("no examples", err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(string(readme), "("+file+")") {
				t.Error("README.md does not name it")
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			objs, errs := mesh.Decode(file, data, opts...)
			if errs = append(errs, mesh.Validate(objs, opts...)...); len(errs) > 0 {
				t.Fatal(errs)
			}
			for _, obj := range objs {
				a, ok := obj.(*mesh.Ambassador)
				if !ok {
					check(t, objs, obj, "", 1)
					continue
				}
				for environment := range a.Spec.Environments {
					check(t, objs, obj, environment, len(a.Spec.Listeners()))
				}
			}
		})
	}
}

// check translates one of the objects of a file.
func check(t *testing.T, objs []mesh.Object, obj mesh.Object, environment string, listeners int) {
	t.Helper()
	world := worldOf(t, obj)
	for _, other := range objs {
		inventory.Put(world, inventory.RefOf(other), &inventory.Object{Object: other}, time.Time{})
	}
	out := translate.Object(obj, translate.Variant{Environment: environment}, world)
	for _, c := range out.Conditions {
		if !c.Status {
			t.Errorf("%s in %s: %s", c.Object, environment, c.Message)
		}
	}
	s, err := snapshot.Build(out.Set)
	if err != nil {
		t.Fatalf("%s in %s:\n%v", obj.Key(), environment, err)
	}
	if len(s.Listeners) != listeners {
		t.Errorf("%d listeners, want %d", len(s.Listeners), listeners)
	}
}

// worldOf holds what an object refers to.
func worldOf(t *testing.T, obj mesh.Object) *inventory.Store {
	t.Helper()
	world := inventory.NewStore()
	ca, err := os.ReadFile(redistest.NewPKI(t).CAFile)
	if err != nil {
		t.Fatal(err)
	}
	data := map[string][]byte{"username": []byte("u"), "password": []byte("p"), "ca.crt": ca}
	for _, ref := range translate.References(obj) {
		switch ref.Kind {
		case inventory.KindService:
			svc := &inventory.Service{Key: ref.Key, AllowFrom: []string{obj.Meta().Namespace}}
			for _, port := range []uint32{25, 1025, 6379} {
				svc.Ports = append(svc.Ports, inventory.ServicePort{Name: strconv.Itoa(int(port)), Port: port})
			}
			inventory.Put(world, ref, svc, time.Time{})
		case inventory.KindLease:
			inventory.Put(world, ref, &inventory.Lease{Key: ref.Key, Holder: "pod-1", Pod: "pod-1", IPs: []string{"192.0.2.1"}}, time.Time{})
		case inventory.KindAmbassador: // of the same file
		default:
			inventory.Put(world, ref, &inventory.Secret{Key: ref.Key, Data: data}, time.Time{})
		}
	}
	return world
}

// The document that the Pod with a log-shipping sidecar holds is valid, too.
func TestLogsOfAPod(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("kubernetes/logs/nginx.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Data map[string]string }
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&m); err != nil { // the first document
		t.Fatal(err)
	}
	objs, errs := mesh.Decode("mesh.yaml", []byte(m.Data["mesh.yaml"]))
	if errs = append(errs, mesh.Validate(objs)...); len(errs) > 0 || len(objs) != 1 {
		t.Fatal(len(objs), errs)
	}
	check(t, objs, objs[0], "", 1)
}
