package mesh

import "strings"

// DidYouMean gives a hint with the known word nearest to a wrong one, or "".
func DidYouMean(wrong string, known []string) string {
	best, bestDistance := "", len(wrong)/3+2
	for _, k := range known {
		if strings.EqualFold(strings.NewReplacer("_", "", "-", "").Replace(wrong), k) {
			best = k
			break
		}
		if d := EditDistance(strings.ToLower(wrong), strings.ToLower(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return meant(best)
}

func meant(word string) string { return `did you mean "` + word + `"?` }

// Suggest is what to say of a wrong word: the known one that was probably meant,
// or all that are known.
func Suggest(wrong string, known []string) string { return hintOf(wrong, known) }

// hintOf names the nearest known word or, where none is near, all of them.
func hintOf(wrong string, known []string) string {
	if hint := DidYouMean(wrong, known); hint != "" {
		return hint
	}
	return oneOf(known)
}

// oneOf gives a hint with the words that may stand there.
func oneOf(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return "one of " + strings.Join(words, ", ")
}

// EditDistance counts the insertions, deletions and replacements of bytes that
// make a into b. Long words are all equally far.
func EditDistance(a, b string) int {
	const long = 64
	if len(a) > long || len(b) > long {
		return long
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, above, row[j])
			}
			diagonal, row[j+1] = above, cost
		}
	}
	return row[len(b)]
}
