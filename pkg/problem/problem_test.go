package problem_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/problem"
)

func TestList(t *testing.T) {
	t.Parallel()
	var l problem.List
	if err := l.Err(); err != nil {
		t.Errorf("of nothing: %v", err)
	}
	l.Add("f.yml", 7, "pool.hash", "%q is no hash", "x")
	l.Add("f.yml", 3, "", "is there twice")
	l.Add("f.yml", 0, "", "has no pools")
	err := l.Sorted().Err()
	want := "f.yml: has no pools\nf.yml:3: is there twice\nf.yml:7: pool.hash: \"x\" is no hash"
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	var p *problem.Problem
	if !errors.As(err, &p) || p.Line != 0 {
		t.Errorf("the first problem is %+v", p)
	}
}
