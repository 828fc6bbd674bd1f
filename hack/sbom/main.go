// Command sbom writes the bill of materials of a Go binary, as CycloneDX 1.5 in JSON, from what the linker put into the binary itself: every module that is
// linked, with the checksum by which Go knows it. The same binary gives the same bytes: there is no time in it.
//
//	go run ./hack/sbom bin/proxy >proxy.cdx.json
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// exitUsage is the exit code for a wrong command line.
const exitUsage = 64

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: sbom BINARY")
		os.Exit(exitUsage)
	}
	if err := write(os.Stdout, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// The parts of CycloneDX 1.5 that are used (https://cyclonedx.org/docs/1.5/json).
type (
	document struct {
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Serial       string       `json:"serialNumber"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Component component `json:"component"`
	}
	component struct {
		Type       string     `json:"type"`
		Ref        string     `json:"bom-ref"`
		Name       string     `json:"name"`
		Version    string     `json:"version,omitempty"`
		PURL       string     `json:"purl,omitempty"`
		Hashes     []hash     `json:"hashes,omitempty"`
		Properties []property `json:"properties,omitempty"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn"`
	}
)

func write(w io.Writer, binary string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("reading the build information of %s: %w", binary, err)
	}
	content, err := os.ReadFile(binary) //nolint:gosec // the file that was asked for
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(describe(filepath.Base(binary), info, sum))
}

func describe(name string, info *buildinfo.BuildInfo, sum [sha256.Size]byte) document {
	main := component{
		Type: "application", Name: name, Ref: name, Version: info.Main.Version, PURL: purl(info.Main.Path, info.Main.Version),
		Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}},
	}
	for _, s := range info.Settings {
		main.Properties = append(main.Properties, property{"go:build:" + s.Key, s.Value})
	}
	goVersion := strings.TrimPrefix(info.GoVersion, "go")
	parts := []component{{Type: "library", Name: "std", Version: goVersion, PURL: purl("std", goVersion)}}
	for _, m := range info.Deps {
		parts = append(parts, part(m))
	}
	all := dependency{Ref: main.Ref, DependsOn: []string{}}
	for i := range parts {
		parts[i].Ref = parts[i].PURL
		all.DependsOn = append(all.DependsOn, parts[i].Ref)
	}
	return document{
		Format: "CycloneDX", Spec: "1.5", Serial: serial(sum), Version: 1,
		Metadata: metadata{main}, Components: parts, Dependencies: []dependency{all},
	}
}

// part is a module; of one that is replaced, what stands in its place.
func part(m *debug.Module) component {
	if m.Replace != nil {
		m = m.Replace
	}
	c := component{Type: "library", Name: m.Path, Version: m.Version, PURL: purl(m.Path, m.Version)}
	if m.Sum != "" {
		c.Properties = []property{{"go:sum", m.Sum}}
	}
	return c
}

// purl is a package's URL (https://github.com/package-url/purl-spec).
func purl(path, version string) string {
	return "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
}

// serial makes a UUID of a checksum (RFC 9562, version 8).
func serial(sum [sha256.Size]byte) string {
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
