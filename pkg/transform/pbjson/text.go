package pbjson

import "bytes"

// Text gives what a JSON string says; false: json is no string.
func Text(json []byte) (string, bool) {
	s := scanner{in: json}
	text, err := s.text()
	if err != nil || s.end() != nil {
		return "", false
	}
	return string(text), true
}

// Elements cuts a JSON list into its values. They are parts of json. An error is
// an *Error.
func Elements(json []byte) ([][]byte, error) {
	s := scanner{in: json}
	if err := s.enter('['); err != nil {
		return nil, err
	}
	var list [][]byte
	for {
		more, err := s.more(']', len(list) == 0)
		if err == nil && !more {
			err = s.end()
		}
		if err != nil {
			return nil, err
		}
		if !more {
			return list, nil
		}
		value, err := s.skip()
		if err != nil {
			return nil, err
		}
		list = append(list, bytes.TrimSpace(value))
	}
}
