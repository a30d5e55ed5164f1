package jvm

import (
	"archive/zip"
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the jar anew")

// The committed jar is made from the sources beside it.
func TestJarIsOfTheseSources(t *testing.T) {
	if *update {
		t.Skip("the jar is being written")
	}
	digest, err := Digest()
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(Jar), int64(len(Jar)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := z.Open("META-INF/MANIFEST.MF")
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	unfolded := strings.ReplaceAll(string(manifest), "\r\n ", "")
	if !strings.Contains(unfolded, SourceDigest+": "+digest+"\r\n") {
		t.Errorf("the sources have changed since wherry-spark.jar was made (digest %s); run: go test ./jvm -run TestBuild -update\n%s", digest, unfolded)
	}
}

// The jar is reproducible, with the compiler that made it.
func TestBuild(t *testing.T) {
	javac, err := exec.LookPath("javac")
	if home := os.Getenv("JAVA_HOME"); home != "" && err != nil {
		javac, err = exec.LookPath(filepath.Join(home, "bin", "javac"))
	}
	version := ""
	if err == nil {
		out, _ := exec.Command(javac, "-version").CombinedOutput()
		version = string(out)
	}
	if !strings.HasPrefix(version, "javac 17.") {
		if os.Getenv("CI") != "" {
			t.Fatalf("CI needs javac 17, found %q", version)
		}
		t.Skipf("no javac 17 (found %q): the committed jar is not rebuilt", version)
	}
	jar, err := Build(context.Background(), javac, classPath(t))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("wherry-spark.jar", jar, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(jar, Jar) {
		t.Errorf("javac %s makes another jar than the committed one; run: go test ./jvm -run TestBuild -update", version)
	}
}
