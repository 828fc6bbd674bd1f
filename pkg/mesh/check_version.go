package mesh

import (
	"fmt"
	"slices"
	"strings"
)

const versionName = "{version}"

func (c *checker) apiVersions(v *APIVersions, at string) {
	if v == nil {
		return
	}
	c.require(count(v.Path != "", v.Header != "", v.MediaType != "") == 1, at, "needs exactly one of path, header and mediaType",
		"which says where a request has its version")
	if v.Path != "" {
		ok := strings.HasPrefix(v.Path, "/") && strings.Count(v.Path, versionName) == 1 && !strings.HasSuffix(v.Path, "/") &&
			!strings.ContainsAny(strings.Replace(v.Path, versionName, "", 1), "{}*?# ")
		c.require(ok, at+".path", fmt.Sprintf("%q is not a path with {version} in it", clip(v.Path)), `as in "/{version}"`)
	}
	c.require(v.Header == "" || isHeaderName(v.Header), at+".header", "is not the name of a header", "")
	group, kind, typed := strings.Cut(v.MediaType, "/")
	c.require(v.MediaType == "" || typed && isHeaderName(group) && isHeaderName(kind), at+".mediaType", "is not a media type", "as in application/json")
	c.require(isLabelValue(v.App), at+".app", fmt.Sprintf("%q is not the name of a version", clip(v.App)), "as in v2")
	c.require(v.AppPath == "" || v.Path != "", at+".appPath", "goes with path only", "remove it")
	c.require(v.AppPath == "" || isURLPath(v.AppPath) && !strings.ContainsAny(v.AppPath, "{}*"), at+".appPath", "must be the path of a URL", "")
	c.require(len(v.Older) > 0, at+".older", "at least one is needed", `as in older: [{name: v1}]`)
	names := []string{v.App}
	for i := range v.Older {
		o, here := &v.Older[i], fmt.Sprintf("%s.older[%d]", at, i)
		c.require(isLabelValue(o.Name), here+".name", fmt.Sprintf("%q is not the name of a version", clip(o.Name)), "as in v1")
		c.require(!slices.Contains(names, o.Name), here+".name", fmt.Sprintf("%s is there twice", clip(o.Name)), "")
		if isLabelValue(o.Name) && !slices.Contains(names, o.Name) {
			names = append(names, o.Name)
		}
		c.apiVersion(o, here)
	}
	c.require(v.Default == "" || slices.Contains(names, v.Default), at+".default", fmt.Sprintf("there is no version %q", clip(v.Default)), hintOf(v.Default, names))
	for i := range v.Older {
		o, here := &v.Older[i], fmt.Sprintf("%s.older[%d].becomes", at, i)
		c.require(slices.Contains(names, v.Next(o)), here, fmt.Sprintf("there is no version %q", clip(o.Becomes)), hintOf(o.Becomes, names))
		c.require(!v.circular(o), here, "leads back to the version itself", "")
	}
}

func (c *checker) apiVersion(o *OlderVersion, at string) {
	for field, url := range map[string]string{".link": o.Link, ".successor": o.Successor} {
		c.require(!strings.ContainsAny(url, "<>\"{}\\^` \t\r\n"), at+field, "is not a URL", "")
	}
	c.require(o.AfterSunset != "Refuse" || !o.Sunset.IsZero(), at+".afterSunset", "needs a sunset", "")
	c.require(o.Sunset.IsZero() || o.Deprecated.IsZero() || !o.Sunset.Before(o.Deprecated.Time), at+".sunset", "is before deprecated", "")
	for i := range o.Routes {
		c.apiRoute(&o.Routes[i], fmt.Sprintf("%s.routes[%d]", at, i))
	}
}

// circular tells whether a version becomes itself in the end.
func (v *APIVersions) circular(o *OlderVersion) bool {
	name := v.Next(o)
	for range v.Older {
		i := slices.IndexFunc(v.Older, func(other OlderVersion) bool { return other.Name == name })
		if i < 0 {
			return false
		}
		name = v.Next(&v.Older[i])
	}
	return true
}
