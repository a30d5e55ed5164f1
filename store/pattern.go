package store

import "strings"

// Containing is the pattern for LIKE … ESCAPE '!' of what holds a text.
func Containing(text string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text) + "%"
}
