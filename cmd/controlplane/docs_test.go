package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocs parses the command lines of the control plane in the documentation.
func TestDocs(t *testing.T) {
	t.Parallel()
	var files []string
	for _, pattern := range []string{"*.md", "*/README.md", "*/*/README.md", "*/*/*/README.md"} {
		found, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	block := regexp.MustCompile("(?ms)^```sh\n(.*?)^```")
	examples := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range block.FindAllStringSubmatch(string(text), -1) {
			for line := range strings.Lines(b[1]) {
				line, _, _ := strings.Cut(line, "#")
				args := strings.Fields(line)
				if len(args) == 0 || filepath.Base(args[0]) != "controlplane" {
					continue
				}
				examples++
				if err := parses(args[1:]); err != nil {
					t.Errorf("%s: %s: %v", file, strings.TrimSpace(line), err)
				}
			}
		}
	}
	if examples < 3 {
		t.Errorf("only %d examples found", examples)
	}
}

func parses(args []string) error {
	cmd, rest, err := newRoot().Find(args)
	if err != nil {
		return err
	}
	if cmd.Name() == "controlplane" {
		return errors.New("no command")
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}
