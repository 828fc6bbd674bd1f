package postgres

import (
	"bytes"

	"github.com/dragoman-mesh/dragoman/pkg/database/sqltext"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// hint is what a statement's text says about state that a server keeps for a
// session beyond a transaction. It errs to "state": that costs a session's share
// in the pool, not its sense.
type hint uint16

const (
	hintSet      hint = 1 << iota // SET of something that is not tracked
	hintPath                      // SET search_path, which is tracked if the server reports it
	hintTemp                      // temporary tables, sequences and views that outlive the transaction
	hintHold                      // cursors WITH HOLD
	hintAdvisory                  // advisory locks of sessions
	hintConfig                    // set_config that outlives the transaction
	hintCut                       // the text was too long to be looked at
	hintMeaning                   // what names mean is changed, at least up to the transaction's end
	hintExecute                   // EXECUTE, PREPARE, DEALLOCATE or DISCARD, perhaps of a statement of the protocol
)

// hintsOfTags are those that are of use where a tag says what was executed: when all is
// answered they are over, and not to be taken for those of the next query.
const hintsOfTags = hintSet | hintPath | hintCut

// begins reports whether a query begins with messages of a type.
func begins(typ byte) bool {
	return typ == pgproto.TypeQuery || typ == pgproto.TypeParse || typ == pgproto.TypeBind
}

// maxHintText is how much of a text is looked at, in bytes.
const maxHintText = 4 << 10

// maxCall is the longest call of set_config that is understood, in bytes.
const maxCall = 1 << 10

// hintsOf looks at the words of a text, up to its zero byte.
func hintsOf(sql []byte) (h hint) {
	if i := bytes.IndexByte(sql, 0); i >= 0 {
		sql = sql[:i]
	} else {
		h = hintCut
	}
	if len(sql) > maxHintText {
		sql, h = sql[:maxHintText], hintCut
	}
	var before []byte // the word before, in the same statement
	temps := 0        // temporary things less those that the end of the transaction drops
	made := false     // some of either
	latest := 0       // behind the latest of them
	for i := 0; i < len(sql); {
		c := sql[i] | 0x20
		if c < 'a' || c > 'z' {
			if c == ';' {
				before = nil
			}
			i++
			continue
		}
		end := i + 1
		for end < len(sql) && sqltext.IsWord(sql[end]) {
			end++
		}
		if c == 's' || c == 't' || c == 'h' || c == 'p' || c == 'd' || c == 'e' {
			switch word := sql[i:end]; {
			case isTemp(wordBefore(before, word, sql[:i]), word):
				temps++
				made, latest = true, end
			case is(word, "drop") && is(before, "commit"):
				if !mayHaveComment(sql[latest:i]) {
					temps = max(0, temps-1)
				}
			case before != nil && is(word, "set") && !beginsBlock(before) && !mayHaveComment(sql[:i]): // of UPDATE: the command begins a statement
			default:
				h |= hintOfWord(wordBefore(before, word, sql[:i]), word, sql[end:])
			}
		}
		before, i = sql[i:end], end
	}
	switch {
	case temps > 0:
		h |= hintTemp
	case made: // it hides others of its name until the transaction ends
		h |= hintMeaning
	}
	return h
}

// beginsBlock reports whether a statement of PL/pgSQL may begin behind a word.
func beginsBlock(word []byte) bool {
	return is(word, "begin") || is(word, "then") || is(word, "else") || is(word, "loop")
}

// mayHaveComment reports whether something that could be a comment begins in a text:
// words in it would be taken for those of a statement.
func mayHaveComment(sql []byte) bool {
	return bytes.Contains(sql, []byte("--")) || bytes.Contains(sql, []byte("/*"))
}

// anyWord stands for the word before another, where that is not known.
const anyWord = "?"

// wordBefore is the word before one that decides together with it: what stands behind
// a comment may go on with any.
func wordBefore(before, word, sql []byte) []byte {
	if !is(word, "temp") && !is(word, "temporary") && !is(word, "hold") && !is(word, "pg_temp") {
		return before
	}
	sql = bytes.TrimRight(sql, " \t\r\n")
	line := sql[bytes.LastIndexByte(sql, '\n')+1:]
	if bytes.HasSuffix(sql, []byte("*/")) || bytes.Contains(line, []byte("--")) {
		return []byte(anyWord)
	}
	return before
}

// isTemp reports whether a word and the one before it make something temporary.
func isTemp(before, word []byte) bool {
	if !is(word, "temp") && !is(word, "temporary") {
		return false
	}
	for _, verb := range []string{"create", "replace", "global", "local", "into", anyWord} {
		if is(before, verb) {
			return true
		}
	}
	return false
}

func hintOfWord(before, word, rest []byte) hint {
	switch {
	case is(word, "set"):
		return hintOfSet(rest)
	case is(word, "execute"), is(word, "prepare"), is(word, "deallocate"), is(word, "discard"):
		return hintExecute
	case is(word, "hold") && (is(before, "with") || is(before, anyWord)):
		return hintHold
	case is(word, "pg_temp") && mayMake(before):
		return hintTemp
	case is(word, "set_config"):
		return hintOfCall(rest[:min(len(rest), maxCall)])
	case len(word) > len("pg_advisory_") && !bytes.Contains(word, []byte("xact")):
		if is(word[:len("pg_advisory_")], "pg_advisory_") && !givesBack(word[len("pg_advisory_"):]) || len(word) > len("pg_try_advisory_") && is(word[:len("pg_try_advisory_")], "pg_try_advisory_") {
			return hintAdvisory
		}
	}
	return 0
}

// givesBack reports whether the function pg_advisory_... only gives locks back.
func givesBack(function []byte) bool {
	return is(function, "unlock") || is(function, "unlock_shared") || is(function, "unlock_all")
}

// mayMake reports whether a word may stand before the name of what is made.
func mayMake(word []byte) bool {
	for _, kind := range []string{"table", "exists", "into", "view", "function", "procedure", "aggregate", "sequence", "type", "domain", anyWord} {
		if is(word, kind) {
			return true
		}
	}
	return false
}

// endsWithTrue reports whether the last argument of a call is the word true: that
// makes set_config one for this transaction only.
func endsWithTrue(call []byte) bool {
	depth, last := 0, 0 // last is where the last argument begins
	for i, quoted := 0, false; i < len(call); i++ {
		switch c := call[i]; {
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '(':
			if depth++; depth == 1 {
				last = i + 1
			}
		case c == ',' && depth == 1:
			last = i + 1
		case c == ')':
			if depth--; depth <= 0 {
				return is(bytes.TrimSpace(call[last:i]), "true")
			}
		}
	}
	return false
}

// hintOfSet looks at what follows SET.
func hintOfSet(rest []byte) hint {
	word, rest := nextWord(rest)
	if is(word, "local") {
		if word, _ = nextWord(rest); decidesMeaning(word) {
			return hintMeaning
		}
		return 0
	}
	var h hint
	if decidesMeaning(word) {
		h = hintMeaning
	}
	if is(word, "session") {
		word, rest = nextWord(rest)
		if to, _ := nextWord(rest); is(word, "authorization") && is(to, "default") {
			return 0 // where it is another, the connection is kept already
		}
	}
	for _, harmless := range []string{"transaction", "constraints", "names", "time"} {
		if is(word, harmless) {
			return 0
		}
	}
	if ofTransaction(word) {
		return 0
	}
	switch i := settingOf(string(word)); {
	case i == searchPath:
		return hintPath | hintMeaning
	case i >= 0:
		return 0
	}
	return hintSet | h
}

// ofTransaction reports whether a setting is one of the transaction under way, with
// which it ends. Since PostgreSQL 16 such settings cannot be RESET.
func ofTransaction(name []byte) bool {
	return is(name, "transaction_isolation") || is(name, "transaction_read_only") || is(name, "transaction_deferrable")
}

// is compares a word without regard to case.
func is(word []byte, lower string) bool {
	if len(word) != len(lower) {
		return false
	}
	for i, c := range word {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// keeps reports whether a text that was executed leaves state behind.
func (h hint) keeps() bool {
	return h&(hintHold|hintAdvisory|hintTemp|hintConfig) != 0
}

// deallocated returns the name in "DEALLOCATE name" as it stands alone, nil if
// the text is another.
func deallocated(sql []byte) []byte {
	word, rest := nextWord(sql)
	if !is(word, "deallocate") || bytes.IndexByte(sql[:len(sql)-len(rest)-len(word)], '-') >= 0 {
		return nil
	}
	if word, after := nextWord(rest); is(word, "prepare") {
		rest = after
	}
	rest = bytes.TrimRight(bytes.TrimSpace(rest), "; \t\r\n")
	if n := len(rest); n > 2 && rest[0] == '"' && rest[n-1] == '"' && bytes.IndexByte(rest[1:n-1], '"') < 0 {
		return rest[1 : n-1]
	}
	for _, c := range rest {
		if !sqltext.IsWord(c) {
			return nil
		}
	}
	return bytes.ToLower(rest)
}
