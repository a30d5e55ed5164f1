// Package spark starts and talks to a Spark driver: one JVM for all tasks of an
// agent, each of which attaches to it with a session and a Py4J server of its
// own.
package spark

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry/environment"
)

// Roots are the folders behind dbfs:/, as the driver sees them.
type Roots struct{ DBFS, Volumes, Workspace, Managed string }

// BoxRoots are the roots in a mount view.
var BoxRoots = Roots{DBFS: "/dbfs", Volumes: "/Volumes", Workspace: "/Workspace", Managed: "/run/wherry/managed"}

// Config says how a driver is to run.
type Config struct {
	Env    *environment.Environment
	Dir    string // a folder of this driver alone, made by Start: settings, secret, socket
	BoxDir string // Dir as the driver sees it; Dir itself if empty
	Roots  Roots  // BoxRoots if empty
	Local  string // the driver's scratch folder; "local" below BoxDir if empty

	Cores    int    // local[Cores]; all of the machine's if 0
	MemoryMB int    // the node's memory, of which the heap is a part; the machine's if 0
	User     string // who current_user() is

	Conf map[string]string // the cluster's spark_conf; wins over our defaults

	// WorkerSocket is where a zygote forks Python workers with their libraries
	// imported, as the driver sees it; Spark starts its own if empty.
	WorkerSocket string

	TrustStore         string // PKCS12 with the installation's authority, as the driver sees it
	TrustStorePassword string
	Proxy              string // host:port of the egress proxy where there is no network namespace
}

// Launch is a process to start: in a box, or as it is.
type Launch struct {
	Argv []string
	Env  []string
	Dir  string
}

// Start writes the driver's settings into cfg.Dir and says how to start it. Its
// standard input must be a pipe that stays open as long as the driver is to
// live; the first line of its standard output says that it is ready (see
// Ready).
func Start(cfg Config) (*Launch, error) {
	cfg.complete()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the driver's folder: %w", err)
	}
	if cfg.Local == filepath.Join(cfg.BoxDir, "local") {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, "local"), 0o700); err != nil {
			return nil, fmt.Errorf("make the driver's folder: %w", err)
		}
	}
	secret := make([]byte, 24)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	files := map[string]string{
		"secret":            hex.EncodeToString(secret),
		"driver.properties": properties(cfg.settings()),
		"log4j2.properties": log4j,
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(cfg.Dir, name), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write the driver's settings: %w", err)
		}
	}
	j, err := newJVM(cfg.Env)
	if err != nil {
		return nil, err
	}
	argv := append([]string{j.java()}, j.options()...)
	argv = append(argv, cfg.options()...)
	argv = append(argv, "-cp", j.classPath, "wherry.Driver", filepath.Join(cfg.BoxDir, "driver.properties"))
	return &Launch{Argv: argv, Env: cfg.env(), Dir: cfg.BoxDir}, nil
}

func (c *Config) complete() {
	if c.BoxDir == "" {
		c.BoxDir = c.Dir
	}
	if c.Roots == (Roots{}) {
		c.Roots = BoxRoots
	}
	if c.Local == "" {
		c.Local = filepath.Join(c.BoxDir, "local")
	}
	if c.Cores <= 0 {
		c.Cores = runtime.NumCPU()
	}
}

func (c *Config) env() []string {
	env := []string{
		"SPARK_HOME=" + c.Env.SparkHome,
		"JAVA_HOME=" + c.Env.JavaHome,
		"PYSPARK_PYTHON=" + c.Env.Python,
		"SPARK_LOCAL_DIRS=" + c.Local,
		"SPARK_LOCAL_IP=127.0.0.1",
		"PATH=" + filepath.Dir(c.Env.Python) + ":/usr/local/bin:/usr/bin:/bin",
		"HOME=" + c.Local,
		"LANG=C.UTF-8",
		"PYTHONHASHSEED=0",
	}
	if c.WorkerSocket != "" {
		env = append(env, "WHERRY_SPARK_DAEMON="+c.WorkerSocket)
	}
	if c.User != "" {
		env = append(env, "SPARK_USER="+c.User, "HADOOP_USER_NAME="+c.User)
	}
	return env
}

// options are the JVM's options that this driver has of its own.
func (c *Config) options() []string {
	o := []string{
		fmt.Sprintf("-Xmx%dm", c.heapMB()),
		"-Dlog4j2.configurationFile=file:" + filepath.Join(c.BoxDir, "log4j2.properties"),
		"-Djava.io.tmpdir=" + c.Local,
	}
	if runtime.NumCPU() < 4 && !strings.Contains(c.Conf["spark.driver.extraJavaOptions"], "-XX:TieredStopAtLevel=") {
		// Spark's generated classes are many and short-lived: on two cores C2, the
		// optimizing compiler, took 60 of 120 s of CPU of a job of some minutes.
		// Users who want it say -XX:TieredStopAtLevel=4. Without it Java keeps 48
		// MB of compiled code only: a driver that lives on sweeps and compiles the
		// same again, 60 of 210 s of CPU of our own statements' test. And only C2
		// uses the processor's AES: a fifteenth of a job's CPU went into AES-GCM
		// for a few MB from the lake.
		o = append(o, "-XX:TieredStopAtLevel=1", "-XX:ReservedCodeCacheSize=256m",
			"-Djdk.tls.client.cipherSuites="+strings.Join(strings.Fields(tlsSuites), ","))
	}
	if c.TrustStore != "" {
		o = append(o, "-Djavax.net.ssl.trustStore="+c.TrustStore, "-Djavax.net.ssl.trustStoreType=PKCS12",
			"-Djavax.net.ssl.trustStorePassword="+c.TrustStorePassword)
	}
	if host, port, ok := strings.Cut(c.Proxy, ":"); ok {
		o = append(o, "-Dhttps.proxyHost="+host, "-Dhttps.proxyPort="+port, "-Dhttp.proxyHost="+host,
			"-Dhttp.proxyPort="+port, "-Dhttp.nonProxyHosts=localhost|127.*|[::1]")
	}
	// The user's own options come last and win, but for the heap, which
	// spark.driver.memory says.
	for _, option := range strings.Fields(c.Conf["spark.driver.extraJavaOptions"]) {
		if !strings.HasPrefix(option, "-Xmx") {
			o = append(o, option)
		}
	}
	return o
}

// heapMB is what the user asked for with spark.driver.memory, else six tenths
// of the node; never more than six tenths of the machine, for Python needs
// memory too.
func (c *Config) heapMB() int {
	machine := machineMB()
	node := c.MemoryMB
	if node <= 0 {
		node = machine
	}
	heap := node * 6 / 10
	if asked := parseMB(c.Conf["spark.driver.memory"]); asked > 0 {
		heap = asked
	}
	return max(1024, min(heap, machine*6/10))
}

// parseMB reads Spark's sizes: 4g, 512m, 1048576k; 0 if it is none.
func parseMB(size string) int {
	size = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(size)), "b")
	if size == "" {
		return 0
	}
	unit := map[byte]float64{'k': 1.0 / 1024, 'm': 1, 'g': 1024, 't': 1024 * 1024}
	factor, ok := unit[size[len(size)-1]]
	if ok {
		size = size[:len(size)-1]
	} else {
		factor = 1.0 / 1024 / 1024
	}
	n, err := strconv.ParseFloat(size, 64)
	if err != nil || n < 0 {
		return 0
	}
	return int(n * factor)
}

// machineMB is the memory of the machine, or of the control group that holds
// this process; 4 GB where it cannot be told.
func machineMB() int {
	mb := 4096
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "MemTotal:" {
				if kb, err := strconv.Atoi(f[1]); err == nil {
					mb = kb / 1024
				}
			}
		}
	}
	if b, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
			mb = min(mb, int(n>>20))
		}
	}
	return mb
}
