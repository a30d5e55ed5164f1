package notebook

import (
	"embed"
	"sync"

	"github.com/alecthomas/chroma/v2"
)

// Chroma's own lexers and styles packages parse hundreds of definitions when a
// process starts, 25 to 85 ms in every process of this binary. These are the
// few that notebooks need (MIT, see highlight/LICENSE.chroma), read when used.
//
//go:embed highlight/*.xml
var highlightFiles embed.FS

var lexerCache sync.Map // name → chroma.Lexer

// lexer returns the lexer of a language, nil for one that is not highlighted.
func lexer(name string) chroma.Lexer {
	if l, ok := lexerCache.Load(name); ok {
		return l.(chroma.Lexer)
	}
	l, err := chroma.NewXMLLexer(highlightFiles, "highlight/"+name+".xml")
	if err != nil {
		return nil
	}
	lexerCache.Store(name, l)
	return l
}

// highlightStyle returns a colour scheme by name.
func highlightStyle(name string) *chroma.Style {
	f, err := highlightFiles.Open("highlight/" + name + ".xml")
	if err != nil {
		panic(err) // embedded above
	}
	defer f.Close()
	s, err := chroma.NewXMLStyle(f)
	if err != nil {
		panic(err)
	}
	return s
}
