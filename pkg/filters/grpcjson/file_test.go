package grpcjson_test

import (
	"net/http"
	"path/filepath"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestFileChanges: a file of descriptors that is replaced counts without any other change; one that is none changes nothing.
func TestFileChanges(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "set.pb")
	put := func(data []byte) { filetest.Put(t, name, data) }
	put(setWith(t, "/one/{name=orders/*}"))
	conf, err := parse(t, `{"@type": "type.googleapis.com/`+transcoder+`", "proto_descriptor": "`+name+`", "services": ["`+grpctest.Orders+`"]}`, "")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := proxy(t, conf, cluster(grpctest.Serve(t), resource.UpstreamHTTP2))
	awaitPath(t, "http://"+addr+"/one/orders/5")
	put(setWith(t, "/two/{name=orders/*}"))
	awaitPath(t, "http://"+addr+"/two/orders/5")
	put([]byte("no descriptors"))
	awaitPath(t, "http://"+addr+"/two/orders/5")
	put(setWith(t, "/three/{name=orders/*}"))
	awaitPath(t, "http://"+addr+"/three/orders/5")
}

// setWith are the test's descriptors with another path for Orders.Get.
func setWith(t *testing.T, path string) []byte {
	t.Helper()
	set, _ := proto.Clone(grpctest.FileSet()).(*descriptorpb.FileDescriptorSet)
	found := false
	for _, file := range set.GetFile() {
		for _, service := range file.GetService() {
			for _, m := range service.GetMethod() {
				if file.GetPackage()+"."+service.GetName() == grpctest.Orders && m.GetName() == "Get" {
					proto.SetExtension(m.GetOptions(), annotations.E_Http, &annotations.HttpRule{Pattern: &annotations.HttpRule_Get{Get: path}})
					found = true
				}
			}
		}
	}
	data, err := proto.Marshal(set)
	if err != nil || !found {
		t.Fatal(err, found)
	}
	return data
}

// awaitPath asks until there is an order.
func awaitPath(t *testing.T, url string) {
	t.Helper()
	c := clients(t)["HTTP/1.1"]
	filtertest.Eventually(t, url, func() bool {
		r := ask(t, c, "GET", url, "")
		return r.StatusCode == http.StatusOK && r.body == `{"name":"orders/5"}`
	})
}
