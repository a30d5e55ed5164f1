// Package jvm holds the Java side of Spark on wherry: the driver, the catalog,
// the statements, the file system and the lineage listener. The sources are in
// src; the jar that they make is committed, so that users need no compiler.
package jvm

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"sort"
)

// Jar is wherry-spark.jar, made from Sources by Build.
//
//go:embed wherry-spark.jar
var Jar []byte

// Sources is the folder src.
//
//go:embed src
var Sources embed.FS

// SourceDigest is the manifest entry of the jar that says which sources it was
// made from.
const SourceDigest = "Wherry-Source-Digest"

// Digest is the sha256 of the sources' names and contents in hex.
func Digest() (string, error) {
	names, err := sourceFiles()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, name := range names {
		b, err := Sources.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", name, len(b))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func sourceFiles() (names []string, err error) {
	err = fs.WalkDir(Sources, "src", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	sort.Strings(names)
	return names, err
}
