package command

import "net/http"

// AdminClient asks admin servers, and passes the proxy by that HTTP_PROXY names: it
// would be asked for 0.0.0.0 and for a pod's own address, too.
func AdminClient() *http.Client { return &http.Client{Transport: &http.Transport{}} }
