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

// NoDatabase says, for people, whose name it is of a database that a server does not
// have, or does not let the user see.
func (p *Part) NoDatabase() string {
	if p.Conf.Login.Database == "" {
		return "this is the database that the app asks for, since the environment in the document names none: check whether it is at this server"
	}
	return "this is the environment's database in the document, not the app's: check whether it is at this server"
}
