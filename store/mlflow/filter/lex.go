// Package filter reads the search language of MLflow: comparisons joined by
// AND ("metrics.rmse < 1 AND params.model = 'tree'") and order_by clauses. It
// parses and checks; store/mlflow makes SQL of the result.
package filter

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wherry-ml/wherry"
)

type kind int

const (
	word   kind = iota // an identifier, its quoted parts still quoted
	str                // 'text' or "text", without the quotes
	number             // as written
	op                 // = != < <= > >=
	punct              // ( ) ,
)

type token struct {
	kind kind
	text string
}

// maxFilter bounds a filter: longer ones are nobody's.
const maxFilter = 100_000

func invalid(format string, args ...any) error {
	return wherry.Errorf(wherry.CodeInvalidParameter, format, args...)
}

// lex cuts s into tokens. A double-quoted text that stands alone is a string;
// as a part of an identifier (tags."a b") it is a name.
func lex(s string) (tokens []token, err error) {
	if len(s) > maxFilter {
		return nil, invalid("the filter is longer than %d characters", maxFilter)
	}
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case unicode.IsSpace(r):
			i += size
			continue
		case r == '\'':
			text, n, ok := quoted(s[i:])
			if !ok {
				return nil, invalid("Invalid filter: the quote at %q is not closed", s[i:])
			}
			tokens = append(tokens, token{str, text})
			i += n
			continue
		case strings.ContainsRune("(),", r):
			tokens = append(tokens, token{punct, string(r)})
			i += size
			continue
		case strings.ContainsRune("=<>!", r):
			n := 1
			for i+n < len(s) && strings.ContainsRune("=<>", rune(s[i+n])) {
				n++
			}
			tokens = append(tokens, token{op, s[i : i+n]})
			i += n
			continue
		}
		t, n, err := lexWord(s[i:])
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
		i += n
	}
	return tokens, nil
}

// lexWord reads a number or an identifier of dotted, possibly quoted parts.
func lexWord(s string) (token, int, error) {
	if n := numberLen(s); n > 0 {
		return token{number, s[:n]}, n, nil
	}
	n, quotes := 0, 0
	for n < len(s) {
		r, size := utf8.DecodeRuneInString(s[n:])
		switch {
		case r == '`' || r == '"':
			_, q, ok := quoted(s[n:])
			if !ok {
				return token{}, 0, invalid("Invalid filter: the quote at %q is not closed", s[n:])
			}
			n += q
			quotes++
			continue
		case r == '.' || r == '_' || r == '/' || r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r):
			n += size
			continue
		}
		break
	}
	if n == 0 {
		return token{}, 0, invalid("Invalid clause(s) in filter string: %q", s)
	}
	if quotes == 1 && s[0] == '"' && s[n-1] == '"' {
		text, _, _ := quoted(s[:n])
		return token{str, text}, n, nil
	}
	return token{word, s[:n]}, n, nil
}

// quoted reads a text from its opening quote; a doubled quote stands for one.
func quoted(s string) (text string, n int, ok bool) {
	q := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != q {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == q {
			b.WriteByte(q)
			i++
			continue
		}
		return b.String(), i + 1, true
	}
	return "", 0, false
}

// numberLen is the length of the number at the start of s, 0 if there is none.
func numberLen(s string) int {
	i, digits := 0, 0
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		i++
	}
	for i < len(s) && (isDigit(s[i]) || s[i] == '.') {
		if isDigit(s[i]) {
			digits++
		}
		i++
	}
	if digits == 0 {
		return 0
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		j := i + 1
		if j < len(s) && (s[j] == '-' || s[j] == '+') {
			j++
		}
		if j < len(s) && isDigit(s[j]) {
			for j < len(s) && isDigit(s[j]) {
				j++
			}
			i = j
		}
	}
	if r, _ := utf8.DecodeRuneInString(s[i:]); i < len(s) && (unicode.IsLetter(r) || r == '_') {
		return 0 // 1abc is a word
	}
	return i
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }
