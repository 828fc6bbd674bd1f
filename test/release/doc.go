// Package release tests what is released: that binaries are static and reproducible, that they tell what they are made of, and the
// images' Containerfiles.
package release
