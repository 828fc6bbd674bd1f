package proxy

import (
	"cmp"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/mappingfile"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// metricsFiles looks into the files of other exporters that sources of metrics name.
func (c *check) metricsFiles() {
	for _, obj := range c.objs {
		a, ok := obj.(*mesh.Adapter)
		if !ok || a.Spec.Metrics == nil {
			continue
		}
		for i := range a.Spec.Metrics.Sources {
			s := &a.Spec.Metrics.Sources[i]
			if s.StatsD != nil {
				c.mappingFile(obj, s.StatsD.MappingFile)
			}
			if s.Graphite != nil {
				c.mappingFile(obj, s.Graphite.MappingFile)
			}
			if s.JSON != nil {
				c.exporterFile(obj, s.JSON)
			}
		}
	}
}

func (c *check) mappingFile(obj mesh.Object, name string) {
	if name == "" {
		return
	}
	if _, err := mappingfile.Read(name); err != nil {
		for _, one := range everyError(err) {
			c.unread(obj, name, one)
		}
	}
}

// exporterFile looks into a file of json_exporter, which may have parts that have no
// effect.
func (c *check) exporterFile(obj mesh.Object, s *mesh.JSONSource) {
	name := s.ConfigFile
	if name == "" {
		return
	}
	file, err := json.LoadExporter(name)
	if err == nil {
		_, err = file.Need(cmp.Or(s.Module, resource.DefaultJSONModule))
	}
	if err != nil {
		c.unread(obj, name, err)
		return
	}
	for _, w := range file.Warnings {
		c.report.Warnings = append(c.report.Warnings, mesh.ErrorAtName([]mesh.Object{obj}, name, w, "it has no effect"))
	}
}
