package spark

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/jvm"
	"github.com/wherry-ml/wherry/state"
)

// opened are the packages of the JDK that Spark reaches into.
var opened = []string{
	"java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util",
	"java.util.concurrent", "java.util.concurrent.atomic", "jdk.internal.ref", "sun.nio.ch", "sun.nio.cs",
	"sun.security.action", "sun.util.calendar",
}

func (r *Runtime) java() string { return filepath.Join(r.JavaHome, "bin", "java") }

// common are the options that every start has, so that an archive made with
// them fits.
func (r *Runtime) common() []string {
	o := []string{
		// Half the start-up of G1 and a third of its memory; on heaps of a few
		// GB and few cores it does not lose later either.
		"-XX:+UseSerialGC",
		"-XX:+IgnoreUnrecognizedVMOptions",
		"-XX:TieredStopAtLevel=4",
		"-Xss4m", // deep plans
		"-Djdk.reflect.useDirectMethodHandle=false",
		"-Dio.netty.tryReflectionSetAccessible=true",
		"-Djava.net.preferIPv6Addresses=false",
		"-Dfile.encoding=UTF-8",
		"-Duser.timezone=UTC",
		"--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
	}
	for _, p := range opened {
		o = append(o, "--add-opens=java.base/"+p+"=ALL-UNNAMED")
	}
	if b, err := os.ReadFile(filepath.Join(r.JavaHome, "release")); err == nil && strings.Contains(string(b), "jdk.incubator.vector") {
		o = append(o, "--add-modules=jdk.incubator.vector") // MLlib's fast linear algebra
	}
	return o
}

func (r *Runtime) options(classPath string) []string {
	o := r.common()
	if archive := r.archive(classPath); usable(archive) {
		o = append(o, "-XX:SharedArchiveFile="+archive, "-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
	}
	return o
}

func usable(archive string) bool {
	info, err := os.Stat(archive)
	return err == nil && info.Mode().IsRegular() && info.Size() > 0
}

// classPath writes our jar beside the others, by its content's name, and lists
// all of them in one order.
func (r *Runtime) classPath() (string, error) {
	sum := sha256.Sum256(jvm.Jar)
	ours := filepath.Join(r.JarDir, "wherry-spark-"+hex.EncodeToString(sum[:6])+".jar")
	if _, err := os.Stat(ours); errors.Is(err, fs.ErrNotExist) {
		if err := state.WriteFile(ours, jvm.Jar, 0o644); err != nil {
			return "", fmt.Errorf("write wherry's jar: %w", err)
		}
	}
	jars, err := filepath.Glob(filepath.Join(r.SparkHome, "jars", "*.jar"))
	if err != nil {
		return "", err
	}
	if len(jars) == 0 {
		return "", fmt.Errorf("no jars in %s: is pyspark installed there?", filepath.Join(r.SparkHome, "jars"))
	}
	further := slices.Clone(r.Jars)
	slices.Sort(jars)
	slices.Sort(further)
	return strings.Join(append(append(jars, further...), ours), ":"), nil
}

// archive is the place of the AppCDS archive for this JVM, class path and
// options.
func (r *Runtime) archive(classPath string) string {
	h := sha256.New()
	release, _ := os.ReadFile(filepath.Join(r.JavaHome, "release"))
	fmt.Fprintf(h, "%s\n%s\n%s\n%q", r.JavaHome, release, classPath, r.common())
	return filepath.Join(r.JarDir, "wherry-"+hex.EncodeToString(h.Sum(nil)[:8])+".jsa")
}

// MakeArchive makes the AppCDS archive that drivers start faster with (about
// half the time; 30-60 s of work, 190 MB), at idle priority, unless it is there
// or another process is making it. A driver that starts meanwhile does without.
func MakeArchive(ctx context.Context, r Runtime) error {
	classPath, err := r.classPath()
	if err != nil {
		return err
	}
	archive := r.archive(classPath)
	if usable(archive) {
		return nil
	}
	lock, err := os.OpenFile(archive+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("make the class archive: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // another process is at it
	}
	dir, err := os.MkdirTemp("", "wherry-archive-")
	if err != nil {
		return fmt.Errorf("make the class archive: %w", err)
	}
	defer os.RemoveAll(dir)
	roots := Roots{DBFS: filepath.Join(dir, "dbfs"), Volumes: filepath.Join(dir, "volumes"), Workspace: dir, Managed: filepath.Join(dir, "managed")}
	cfg := Config{Runtime: r, Dir: dir, Roots: roots, Cores: 1, MemoryMB: 2048}
	cfg.complete()
	settings := cfg.settings()
	settings["wherry.training"] = filepath.Join(dir, "training")
	for name, text := range map[string]string{"driver.properties": properties(settings), "log4j2.properties": log4j} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("make the class archive: %w", err)
		}
	}
	temp := fmt.Sprintf("%s.%d", archive, os.Getpid())
	defer os.Remove(temp)
	args := append(r.common(), cfg.options()...)
	args = append(args, "-XX:ArchiveClassesAtExit="+temp, "-Xlog:cds=off", "-Xlog:cds+dynamic=off",
		"-cp", classPath, "wherry.Driver", filepath.Join(dir, "driver.properties"))
	if err := idle(ctx, cfg.env(), r.java(), args...); err != nil {
		return fmt.Errorf("make the class archive: %w", err)
	}
	return os.Rename(temp, archive)
}

// idle runs a command at the lowest priority and gives its output on failure.
func idle(ctx context.Context, env []string, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = env
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		return err
	}
	_ = unix.Setpriority(unix.PRIO_PROCESS, c.Process.Pid, 19)
	if err := c.Wait(); err != nil {
		text := out.String()
		return fmt.Errorf("%w: %s", err, text[max(0, len(text)-2000):])
	}
	return nil
}
