package egress

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry/state"
)

// owner says who answers for a host name.
type owner int

const (
	none      owner = iota // not ours: passed on
	workspace              // the workspace API
	storage                // the storage endpoint
	signIn                 // the Entra-like issuer
	azure                  // Azure's management and Graph APIs, and key vaults
	actions                // the issuer of workflows' id-tokens
	refused                // the cloud's, and not served: never passed on
)

// exact names and suffixes that belong to us or are refused. Ownership goes by
// suffix: an unknown account is ours too, and answers as one that does not
// exist.
var exact = map[string]owner{
	"login.microsoftonline.com": signIn, "login.microsoft.com": signIn, "login.windows.net": signIn, "sts.windows.net": signIn,
	"management.azure.com": azure, "graph.microsoft.com": azure, "token.actions.githubusercontent.com": actions,
}

var suffixes = []struct {
	suffix string
	owner  owner
}{
	{".dfs.core.windows.net", storage},
	{".blob.core.windows.net", storage},
	{".vault.azure.net", azure},
	{".azuredatabricks.net", workspace},
	{".cloud.databricks.com", workspace},
	{".gcp.databricks.com", workspace},
	{".core.windows.net", refused},
	{".database.windows.net", refused},
	{".database.azure.com", refused},
	{".documents.azure.com", refused},
	{".servicebus.windows.net", refused},
	{".azurecr.io", refused},
	{".azuresynapse.net", refused},
	{".search.windows.net", refused},
	{".api.azureml.ms", refused},
	{".openai.azure.com", refused},
	{".cognitiveservices.azure.com", refused},
	{".redis.cache.windows.net", refused},
	{".kusto.windows.net", refused},
	{".fabric.microsoft.com", refused},
	{".management.azure.com", refused},
	{".databricksapps.com", refused},
	{".storage.azure.net", refused},
	// Azure's clouds for governments and of China and Germany.
	{".usgovcloudapi.net", refused},
	{".azure.us", refused},
	{".azurecr.us", refused},
	{".microsoftonline.us", refused},
	{".microsoft.us", refused},
	{".chinacloudapi.cn", refused},
	{".azure.cn", refused},
	{".azurecr.cn", refused},
	{".microsoftonline.cn", refused},
	{".cloudapi.de", refused},
	{".microsoftonline.de", refused},
}

// ownerOf decides about a lower-case host name without a port.
func ownerOf(host string) owner {
	if o, ok := exact[host]; ok {
		return o
	}
	for _, s := range suffixes {
		if strings.HasSuffix(host, s.suffix) {
			return s.owner
		}
	}
	return none
}

// Owned reports whether requests for host are answered here, or refused,
// rather than passed on.
func Owned(host string) bool { return ownerOf(hostName(host)) != none }

// Hosts returns what a sandbox's hosts file must know: the fixed names, both
// names of each storage account, and any more names, each at 127.0.0.1. There
// is no wildcard in a hosts file.
func Hosts(accounts []string, more ...string) map[string]string {
	const loopback = "127.0.0.1"
	hosts := map[string]string{"accounts.azuredatabricks.net": loopback}
	for name := range exact {
		hosts[name] = loopback
	}
	for _, a := range accounts {
		hosts[a+".dfs.core.windows.net"], hosts[a+".blob.core.windows.net"] = loopback, loopback
	}
	for _, name := range more {
		if ownerOf(hostName(name)) != none {
			hosts[hostName(name)] = loopback
		}
	}
	return hosts
}

// Accounts lists the storage accounts that the lake has.
func Accounts(dir state.Dir) (accounts []string) {
	entries, err := os.ReadDir(dir.Lake())
	if err != nil {
		return nil // no lake, no accounts
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			accounts = append(accounts, e.Name())
		}
	}
	return accounts
}

// Directory holds bundle.pem and truststore.p12, to be bound into sandboxes.
func Directory(dir state.Dir) string { return dir.Path("ca") }

// TrustPassword opens truststore.p12: it holds no secrets, and Java wants one.
const TrustPassword = "changeit"

// Env returns the variables that lead a program to the proxy at proxyURL and
// make it trust the files of directory, by the names that the clients read:
// curl and Go, Python's ssl and requests, pip, git, node, gRPC.
func Env(proxyURL, directory string) map[string]string {
	bundle := filepath.Join(directory, "bundle.pem")
	const direct = "127.0.0.1,localhost,::1"
	env := map[string]string{
		"HTTP_PROXY": proxyURL, "HTTPS_PROXY": proxyURL, "NO_PROXY": direct,
		"http_proxy": proxyURL, "https_proxy": proxyURL, "no_proxy": direct,
	}
	for _, name := range []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "AWS_CA_BUNDLE"} {
		env[name] = bundle
	}
	return env
}

// JavaOptions does for a JVM what Env does for other programs.
func JavaOptions(proxyURL, directory string) []string {
	host, port, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(proxyURL, "http://"), "/"), ":")
	return []string{
		"-Djavax.net.ssl.trustStore=" + filepath.Join(directory, "truststore.p12"), "-Djavax.net.ssl.trustStorePassword=" + TrustPassword,
		"-Djavax.net.ssl.trustStoreType=PKCS12",
		"-Dhttps.proxyHost=" + host, "-Dhttps.proxyPort=" + port, "-Dhttp.proxyHost=" + host, "-Dhttp.proxyPort=" + port,
		"-Dhttp.nonProxyHosts=localhost|127.*|[::1]",
	}
}

func refusal(host string) string {
	return "wherry does not serve " + host + " and passes nothing on to it: it belongs to a cloud, and what a run would change there is someone's production"
}

// refuseAzure writes an error in the form that Azure's clients read.
func refuseAzure(w http.ResponseWriter, status int, code, message string) {
	b, _ := json.Marshal(map[string]any{"error": map[string]string{"code": code, "message": message}}) // strings always marshal
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client went away
}
