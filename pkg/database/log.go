package database

// Given are those of the log's attributes, key and value by turns, that say
// something: without those whose value is nil or an empty text.
func Given(attrs ...any) []any {
	given := attrs[:0:0]
	for i := 0; i+1 < len(attrs); i += 2 {
		if v := attrs[i+1]; v != nil && v != "" {
			given = append(given, attrs[i], v)
		}
	}
	return given
}
