package redisproto

import "testing"

func BenchmarkParse(b *testing.B) {
	lim := DefaultLimits()
	for _, tt := range []struct{ name, frame string }{
		{"get", "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000012345\r\n"},
		{"set64", "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000012345\r\n$64\r\n" + string(make([]byte, 64)) + "\r\n"},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			frame := []byte(tt.frame)
			var c Command
			for b.Loop() {
				c.Reset()
				if n, err := c.Parse(frame, &lim); err != nil || n != len(frame) {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkFrameLen(b *testing.B) {
	lim := DefaultLimits()
	for _, tt := range []struct{ name, frame string }{
		{"ok", "+OK\r\n"},
		{"int", ":1000\r\n"},
		{"bulk64", "$64\r\n" + string(make([]byte, 64)) + "\r\n"},
		{"array3", "*3\r\n$3\r\nabc\r\n$-1\r\n:1\r\n"},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			frame := []byte(tt.frame)
			for b.Loop() {
				if n, err := FrameLen(frame, &lim); err != nil || n != len(frame) {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	name := []byte("GET")
	for b.Loop() {
		if s := Lookup(name); s == nil || s.FirstKeyIndex() != 1 {
			b.Fatal(s)
		}
	}
}
