package schema_test

import "slices"

func sorted[T any](list []T, less func(a, b T) int) []T {
	list = slices.Clone(list)
	slices.SortFunc(list, less)
	return list
}
