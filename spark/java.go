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

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/jvm"
	"github.com/wherry-ml/wherry/state"
)

// opened are the packages of the JDK that Spark reaches into.
var opened = []string{
	"java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util",
	"java.util.concurrent", "java.util.concurrent.atomic", "jdk.internal.ref", "sun.nio.ch", "sun.nio.cs",
	"sun.security.action", "sun.util.calendar",
}

// virtualMachine is the Java of an environment with the class path of Spark.
type virtualMachine struct {
	env       *environment.Environment
	dir       string // of our jar and the archives; boxes see it
	classPath string
}

func newJVM(env *environment.Environment) (*virtualMachine, error) {
	dir, err := env.CDS()
	if err != nil {
		return nil, fmt.Errorf("find the cache: %w", err)
	}
	v := &virtualMachine{env: env, dir: dir}
	v.classPath, err = v.findClassPath()
	return v, err
}

func (v *virtualMachine) java() string { return filepath.Join(v.env.JavaHome, "bin", "java") }

// common are the options that every start has, so that an archive made with
// them fits.
func (v *virtualMachine) common() []string {
	o := []string{
		// Half the start-up of G1 and a third of its memory; on heaps of a few
		// GB and few cores it does not lose later either.
		"-XX:+UseSerialGC",
		"-XX:+IgnoreUnrecognizedVMOptions",
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
	if b, err := os.ReadFile(filepath.Join(v.env.JavaHome, "release")); err == nil && strings.Contains(string(b), "jdk.incubator.vector") {
		o = append(o, "--add-modules=jdk.incubator.vector") // MLlib's fast linear algebra
	}
	return o
}

func (v *virtualMachine) options() []string {
	o := v.common()
	if archive := v.archive(); usable(archive) {
		o = append(o, "-XX:SharedArchiveFile="+archive, "-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
	}
	return o
}

func usable(archive string) bool {
	info, err := os.Stat(archive)
	return err == nil && info.Mode().IsRegular() && info.Size() > 0
}

// findClassPath writes our jar beside the others, by its content's name, and lists
// all of them in one order.
func (v *virtualMachine) findClassPath() (string, error) {
	sum := sha256.Sum256(jvm.Jar)
	ours := filepath.Join(v.dir, "wherry-spark-"+hex.EncodeToString(sum[:6])+".jar")
	if _, err := os.Stat(ours); errors.Is(err, fs.ErrNotExist) {
		if err := state.WriteFile(ours, jvm.Jar, 0o644); err != nil {
			return "", fmt.Errorf("write wherry's jar: %w", err)
		}
	}
	jars, err := filepath.Glob(filepath.Join(v.env.SparkHome, "jars", "*.jar"))
	if err != nil {
		return "", err
	}
	if len(jars) == 0 {
		return "", fmt.Errorf("no jars in %s: is pyspark installed there?", filepath.Join(v.env.SparkHome, "jars"))
	}
	slices.Sort(jars)
	return strings.Join(append(append(jars, v.env.Jars...), ours), ":"), nil
}

// archive is the place of the AppCDS archive for this JVM, class path and
// options.
func (v *virtualMachine) archive() string {
	h := sha256.New()
	release, _ := os.ReadFile(filepath.Join(v.env.JavaHome, "release"))
	fmt.Fprintf(h, "%s\n%s\n%s\n%q", v.env.JavaHome, release, v.classPath, v.common())
	return filepath.Join(v.dir, "wherry-"+hex.EncodeToString(h.Sum(nil)[:8])+".jsa")
}

// HasArchive tells whether MakeArchive has nothing to do.
func HasArchive(env *environment.Environment) bool {
	v, err := newJVM(env)
	return err == nil && usable(v.archive())
}

// MakeArchive makes the AppCDS archive that drivers start faster with (about
// half the time; 30-60 s of work, 190 MB), at idle priority, unless it is there
// or another process is making it. A driver that starts meanwhile does without.
func MakeArchive(ctx context.Context, env *environment.Environment) error {
	v, err := newJVM(env)
	if err != nil {
		return err
	}
	archive := v.archive()
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
	cfg := Config{Env: env, Dir: dir, Roots: roots, Cores: 1, MemoryMB: 2048}
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
	args := append(v.common(), cfg.options()...)
	args = append(args, "-XX:ArchiveClassesAtExit="+temp, "-Xlog:cds=off", "-Xlog:cds+dynamic=off",
		"-cp", v.classPath, "wherry.Driver", filepath.Join(dir, "driver.properties"))
	if err := idle(ctx, cfg.env(), v.java(), args...); err != nil {
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
