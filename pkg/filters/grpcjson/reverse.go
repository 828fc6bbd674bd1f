package grpcjson

import (
	"net/http"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func serveReverse(w http.ResponseWriter, r *http.Request, _ *resource.GRPCJSONFilter, _ *service, next http.Handler) {
	next.ServeHTTP(w, r)
}
