package logs_test

import (
	"os"
	"testing"
)

// TestRotation: whatever is done with the files, each line comes once, in order.
func TestRotation(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   func(r *rig)
	}{
		{"none", func(r *rig) { r.write("app.log", 10) }},
		{"the file comes late", func(r *rig) {
			r.write("other.log", 0)
			r.write("app.log", 3)
		}},
		{"renamed, and another made", func(r *rig) {
			r.write("app.log", 100)
			r.await(100)
			r.rename("app.log", "app.log.1")
			r.write("app.log.1", 5) // the app has not opened the new one yet
			r.write("app.log", 10)
		}},
		{"renamed before it was read", func(r *rig) {
			r.write("app.log", 1)
			r.await(1)
			r.write("app.log", 1000)
			r.rename("app.log", "app.log.1")
			r.write("app.log", 1000)
			r.rename("app.log.1", "app.log.2")
			r.rename("app.log", "app.log.1")
			r.write("app.log", 1000)
		}},
		{"renamed five times between two looks", func(r *rig) {
			r.write("app.log", 10)
			r.await(10)
			for _, to := range []string{"app.log-a", "app.log-b", "app.log-c", "app.log-d", "app.log-e"} {
				r.write("app.log", 10)
				r.rename("app.log", to)
			}
			r.write("app.log", 10)
		}},
		{"renamed and deleted", func(r *rig) {
			r.write("app.log", 10)
			r.await(10)
			r.write("app.log", 500)
			r.rename("app.log", "app.log.1")
			r.remove("app.log.1")
			r.write("app.log", 10)
		}},
		{"deleted and made again", func(r *rig) {
			r.write("app.log", 10)
			r.await(10)
			r.write("app.log", 500)
			r.remove("app.log")
			r.write("app.log", 10)
		}},
		{"copied and truncated", func(r *rig) {
			r.write("app.log", 10)
			r.await(10)
			r.copyTruncate("app.log", "app.log.1")
			r.write("app.log", 20)
			r.await(30)
			r.write("app.log", 300) // of which the copy has what is not read yet
			r.copyTruncate("app.log", "app.log.2")
			r.write("app.log", 30)
		}},
		{"truncated and longer than before at once", func(r *rig) {
			r.write("app.log", 10)
			r.await(10)
			r.copyTruncate("app.log", "app.log.1")
			r.write("app.log", 1000)
		}},
		{"a line in pieces", func(r *rig) {
			r.write("app.log", 1)
			r.await(1)
			r.n++
			r.append("app.log", "line 000002 of a log ")
			r.append("app.log", "that is written by ")
			r.append("app.log", "a test\n")
			r.write("app.log", 1)
		}},
		{"a last line without its end, in a file that is rotated", func(r *rig) {
			r.write("app.log", 1)
			r.await(1)
			r.n++
			r.append("app.log", "line 000002 of a log that is written by a test")
			r.rename("app.log", "app.log.1")
			r.await(2)
			r.write("app.log", 1)
		}},
		{"CRLF", func(r *rig) {
			r.n++
			r.append("app.log", "line 000001 of a log that is written by a test\r\n")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.start()
			tt.do(r)
			r.want()
		})
	}
}

// TestAway: what happens while nobody looks is caught up with, once.
func TestAway(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   func(r *rig)
	}{
		{"nothing", func(*rig) {}},
		{"more lines", func(r *rig) { r.write("app.log", 10) }},
		{"renamed", func(r *rig) {
			r.write("app.log", 10)
			r.rename("app.log", "app.log.1")
			r.write("app.log", 10)
		}},
		{"renamed, and nothing written since", func(r *rig) {
			r.write("app.log", 10)
			r.rename("app.log", "app.log.1")
			r.append("app.log", "")
		}},
		{"renamed three times", func(r *rig) {
			r.write("app.log", 10)
			r.rename("app.log", "app.log.1")
			r.write("app.log", 10)
			r.rename("app.log.1", "app.log.2")
			r.rename("app.log", "app.log.1")
			r.write("app.log", 10)
			r.rename("app.log.2", "app.log.3")
			r.rename("app.log.1", "app.log.2")
			r.rename("app.log", "app.log.1")
			r.write("app.log", 10)
		}},
		{"copied and truncated", func(r *rig) {
			r.write("app.log", 10)
			r.copyTruncate("app.log", "app.log.1")
			r.write("app.log", 5)
		}},
		{"copied and truncated, and longer than before", func(r *rig) {
			r.write("app.log", 10)
			r.copyTruncate("app.log", "app.log.1")
			r.write("app.log", 500)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.write("app.log", 50)
			r.start()
			r.await(50)
			r.stop()
			tt.do(r)
			r.start()
			r.want()
			r.write("app.log", 1)
			r.want()
		})
	}
}

// TestSymlinks: a kubelet's links lead to files that it renames.
func TestSymlinks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	pod := r.path("pods")
	if err := os.Mkdir(pod, 0o700); err != nil {
		t.Fatal(err)
	}
	r.write("pods/0.log", 10)
	if err := os.Symlink("pods/0.log", r.path("app.log")); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.await(10)
	r.write("pods/0.log", 10)
	r.rename("pods/0.log", "pods/0.log.20261121-101010")
	r.write("pods/0.log", 10)
	r.want()
	r.stop()
	r.write("pods/0.log", 10)
	r.rename("pods/0.log", "pods/0.log.20261121-111111")
	r.write("pods/0.log", 10)
	r.start()
	r.want()
}

// TestPatterns: files that come are followed, those that are excluded or
// compressed are not, and a rotated one that the pattern fits is no other.
func TestPatterns(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := &r.config.Sources[0]
	s.Paths, s.Exclude = []string{r.path("app*")}, []string{"*.tmp", r.path("app-x*")}
	r.write("app.log", 10)
	r.append("app.gz", "compressed\n")
	r.append("app.tmp", "excluded\n")
	r.append("app-x.log", "excluded\n")
	r.start()
	r.await(10)
	r.write("app2.log", 10)
	r.await(20)
	for range 3 {
		if _, err := os.Stat(r.path("app.log.1")); err == nil {
			r.rename("app.log.1", "app.log.2")
		}
		r.rename("app.log", "app.log.1")
		r.write("app.log", 10)
		r.await(r.n)
	}
	r.restart()
	r.write("app.log", 1)
	r.want()
}
