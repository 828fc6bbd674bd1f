package mesh

import (
	"errors"
	"time"
)

// +kubebuilder:validation:XValidation:rule="[has(self.path), has(self.header), has(self.mediaType)].exists_one(x, x)",message="exactly one of path, header and mediaType is needed"

// APIVersions lets clients of older versions of an API go on with an app that
// speaks the newest alone. A request passes the routes of its version, then those
// of the version that this becomes, until it is one of App; its response passes
// them the other way round. Exactly one of Path, Header and MediaType says where a
// request has its version.
type APIVersions struct {
	// Path that versions begin with, as in "/{version}" or "/api/{version}". Paths
	// in routes are what follows it, or the whole path of clients that say no version.
	// +kubebuilder:validation:Pattern=`^/[^ ?#]*$`
	// +kubebuilder:validation:MaxLength=256
	Path string `json:"path,omitempty"`
	// Header with the version, as in Api-Version.
	// +kubebuilder:validation:MaxLength=256
	Header string `json:"header,omitempty"`
	// MediaType of Accept whose parameter version is the version, as in
	// application/json for "Accept: application/json; version=v1".
	// +kubebuilder:validation:MaxLength=128
	MediaType string `json:"mediaType,omitempty"`
	// App is the version that the app speaks.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	App string `json:"app"`
	// AppPath is what paths begin with for the app, in place of Path with the version
	// in it; "/": nothing.
	// +kubebuilder:validation:Pattern=`^/[^ ?#]*$`
	// +kubebuilder:validation:MaxLength=256
	AppPath string `json:"appPath,omitempty"`
	// Default is the version of requests that say none; absent: they are refused.
	// +kubebuilder:validation:MaxLength=63
	Default string `json:"default,omitempty"`
	// Older versions.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	Older []OlderVersion `json:"older"`
}

// OlderVersion is one that the app does not speak any more.
type OlderVersion struct {
	// Name as requests have it.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// Becomes this version; default: that of the app.
	// +kubebuilder:validation:MaxLength=63
	Becomes string `json:"becomes,omitempty"`
	// Deprecated is since when, for the header Deprecation of responses (RFC 9745):
	// "2026-01-31" or "2026-01-31T12:00:00Z".
	Deprecated Date `json:"deprecated,omitempty"`
	// Sunset is when it will be gone, for the header Sunset (RFC 8594).
	Sunset Date `json:"sunset,omitempty"`
	// AfterSunset is Serve (the default) or Refuse, with status 410.
	AfterSunset AfterSunset `json:"afterSunset,omitempty"`
	// Link to what people should read about it.
	// +kubebuilder:validation:MaxLength=1024
	Link string `json:"link,omitempty"`
	// Successor is the URL of what takes its place. Default: with path, that of the
	// version that it becomes.
	// +kubebuilder:validation:MaxLength=1024
	Successor string `json:"successor,omitempty"`
	// Routes of what differs, of which the first that matches is taken. Requests that
	// none matches become those of the next version as they are.
	// +kubebuilder:validation:MaxItems=256
	Routes []APIRoute `json:"routes,omitempty"`
}

// +kubebuilder:validation:Enum=Serve;Refuse

// AfterSunset is what becomes of a version that is over.
type AfterSunset string

// Values lists what may become of it.
func (AfterSunset) Values() []string { return []string{"Serve", "Refuse"} }

// +kubebuilder:validation:Type=string
// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[-+][0-9]{2}:[0-9]{2}))?$`

// Date is a day, whose beginning in UTC is meant, or a time. The zero value is
// none.
type Date struct{ time.Time }

func (d *Date) parse(text string) error {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			d.Time = t.UTC()
			return nil
		}
	}
	return errors.New(`must be a day or a time, as in "2026-01-31" or "2026-01-31T12:00:00Z"`)
}

// Next is the version that one becomes.
func (v *APIVersions) Next(older *OlderVersion) string {
	if older.Becomes == "" {
		return v.App
	}
	return older.Becomes
}
