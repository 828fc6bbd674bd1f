package mysqlproto

// Change is one thing of the session that a command has changed, as an OK packet
// tells with the capability SessionTrack.
type Change struct {
	Kind ChangeKind
	// Name is the system variable; empty for the other kinds.
	Name string
	// Value is the variable's value, the new default database, the transaction's
	// state or characteristics, or a set of transaction ids.
	Value string
}

// ChangeKind tells what has changed.
type ChangeKind byte

// Kinds of changes.
const (
	ChangedVariable        ChangeKind = 0
	ChangedDatabase        ChangeKind = 1
	ChangedState           ChangeKind = 2 // that something has; Value is "1"
	ChangedGTIDs           ChangeKind = 3
	ChangedCharacteristics ChangeKind = 4 // how to begin the transaction anew
	// ChangedTransaction has eight characters: "T" or "I" for an explicit or an
	// implicit transaction, then what it has done; "_" for nothing. See
	// TransactionOpen.
	ChangedTransaction ChangeKind = 5
)

// TransactionOpen reports whether the value of a ChangedTransaction means that a
// transaction is open.
func TransactionOpen(value string) bool { return value != "" && value[0] != '_' }

// ParseChanges reads what OK.Rest tells of the session, if OK.Status says that
// there is something (StatusSessionChanged). Kinds that are not known are passed
// by.
func ParseChanges(rest []byte) ([]Change, error) {
	c := cursor{b: rest}
	c.lenencBytes() // the message for humans
	list := cursor{b: c.lenencBytes()}
	if c.short {
		return nil, malformed("session changes of an OK packet are malformed")
	}
	var changes []Change
	for len(list.b) > 0 {
		kind := ChangeKind(list.uint8())
		data := cursor{b: list.lenencBytes()}
		var err error
		if changes, err = appendChanges(changes, kind, &data); err != nil || list.short {
			return nil, malformed("session changes of an OK packet are malformed")
		}
	}
	return changes, nil
}

func appendChanges(changes []Change, kind ChangeKind, data *cursor) ([]Change, error) {
	switch kind {
	case ChangedVariable:
		for len(data.b) > 0 && !data.short { // MariaDB puts several into one
			changes = append(changes, Change{Kind: kind, Name: string(data.lenencBytes()), Value: string(data.lenencBytes())})
		}
	case ChangedGTIDs:
		data.uint8() // how they are encoded
		changes = append(changes, Change{Kind: kind, Value: string(data.lenencBytes())})
	case ChangedDatabase, ChangedState, ChangedCharacteristics, ChangedTransaction:
		changes = append(changes, Change{Kind: kind, Value: string(data.lenencBytes())})
	}
	if data.short {
		return nil, malformed("session change of kind %d is malformed", kind)
	}
	return changes, nil
}
