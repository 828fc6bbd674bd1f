package nettest

import "net/http"

// Client is http.DefaultClient with connections of its own. Each httptest.Server closes
// the idle ones of the default transport at its end, and with them, now and then, one
// that a test beside has just taken for a request.
var Client = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
