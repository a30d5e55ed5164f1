package spark

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const log4j = `rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n
logger.gauge.name = org.apache.spark.util.Utils
logger.gauge.level = error
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
logger.plan.name = org.apache.spark.sql.catalyst.util.SparkStringUtils
logger.plan.level = error
logger.window.name = org.apache.spark.sql.execution.window
logger.window.level = error
`

const (
	deltaExtension  = "io.delta.sql.DeltaSparkSessionExtension"
	wherryExtension = "wherry.Extensions"
)

// settings are the driver's properties: our defaults, over them what the
// cluster's spark_conf says, over that what must be ours.
func (c *Config) settings() map[string]string {
	cores := strconv.Itoa(c.Cores)
	s := map[string]string{
		"spark.app.name":                            "wherry",
		"spark.sql.sources.default":                 "delta",
		"spark.sql.session.timeZone":                "Etc/UTC", // as on the platform, wherever the machine is
		"spark.sql.warehouse.dir":                   "dbfs:/user/hive/warehouse",
		"spark.sql.legacy.createHiveTableByDefault": "false",
		"spark.sql.execution.arrow.pyspark.enabled": "true",
		// One machine: as many parts as cores, not the 200 of a big cluster.
		"spark.sql.shuffle.partitions":              cores,
		"spark.databricks.delta.snapshotPartitions": "2",
		"spark.ui.showConsoleProgress":              "false",
		"spark.ui.enabled":                          "false",
		// Listings are jobs of as many tasks as this says: 10,000 by default.
		"spark.sql.sources.parallelPartitionDiscovery.parallelism": cores,
		"spark.locality.wait":                            "0s",
		"spark.databricks.delta.checkLatestSchemaOnRead": "true",
	}
	for _, scheme := range []string{"abfs", "abfss"} {
		// hadoop-azure's own committer needs a library that Spark lacks.
		s["spark.hadoop.mapreduce.outputcommitter.factory.scheme."+scheme] = "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory"
	}
	s["spark.hadoop.fs.azure.skipUserGroupMetadataDuringInitialization"] = "true" // users are not this machine's
	if c.Proxy != "" {
		// Hadoop's default client for Azure knows no proxy.
		s["spark.hadoop.fs.azure.networking.library"] = "JDK_HTTP_URL_CONNECTION"
	}
	if c.WorkerSocket != "" {
		s["spark.python.daemon.module"] = "wherry_runtime.spark_daemon"
	}
	extensions := []string{deltaExtension}
	for k, v := range c.Conf {
		if k == "spark.sql.extensions" {
			for e := range strings.SplitSeq(v, ",") {
				if e = strings.TrimSpace(e); e != "" && !slices.Contains(extensions, e) {
					extensions = append(extensions, e)
				}
			}
			continue
		}
		if k == "spark.sql.shuffle.partitions" && strings.EqualFold(v, "auto") {
			continue // the platform's own value: adaptive execution decides, as it does by default
		}
		s[k] = v
	}
	for k := range s {
		// The master is this process; packages come from the environment.
		if k == "spark.jars.packages" || k == "spark.driver.memory" || strings.HasPrefix(k, "wherry.") {
			delete(s, k)
		}
	}
	maps.Copy(s, c.fixed(append(extensions, wherryExtension)))
	return s
}

// fixed are the properties that must be ours.
func (c *Config) fixed(extensions []string) map[string]string {
	return map[string]string{
		"spark.master":                                  fmt.Sprintf("local[%d]", c.Cores),
		"spark.sql.extensions":                          strings.Join(extensions, ","),
		"spark.sql.catalog.spark_catalog":               "org.apache.spark.sql.delta.catalog.DeltaCatalog",
		"spark.sql.catalog.wherry_sys":                  "wherry.Sys",
		"spark.sql.queryExecutionListeners":             "wherry.Lineage",
		"spark.hadoop.fs.defaultFS":                     "dbfs:///",
		"spark.hadoop.fs.dbfs.impl":                     "wherry.DbfsFileSystem",
		"spark.hadoop.fs.AbstractFileSystem.dbfs.impl":  "wherry.DbfsFileSystem$Abs",
		"spark.hadoop.fs.abfss.impl":                    "wherry.AzureFileSystem",
		"spark.hadoop.fs.abfs.impl":                     "wherry.AzureFileSystem",
		"spark.hadoop.fs.AbstractFileSystem.abfss.impl": "wherry.AzureFileSystem$Abs",
		"spark.hadoop.fs.AbstractFileSystem.abfs.impl":  "wherry.AzureFileSystem$Abs",
		"spark.hadoop.fs.abfss.impl.disable.cache":      "true", // it keeps them itself, by credentials
		"spark.hadoop.fs.abfs.impl.disable.cache":       "true",
		"spark.delta.logStore.abfss.impl":               "wherry.AzureLogStore",
		"spark.delta.logStore.abfs.impl":                "wherry.AzureLogStore",
		"spark.delta.logStore.dbfs.impl":                "wherry.LinkLogStore",
		"spark.delta.logStore.file.impl":                "wherry.LinkLogStore",
		"spark.hadoop.wherry.root.dbfs":                 c.Roots.DBFS,
		"spark.hadoop.wherry.root.volumes":              c.Roots.Volumes,
		"spark.hadoop.wherry.root.workspace":            c.Roots.Workspace,
		"spark.hadoop.wherry.root.managed":              c.Roots.Managed,
		"spark.driver.host":                             "127.0.0.1",
		"spark.driver.bindAddress":                      "127.0.0.1",
		"wherry.control":                                filepath.Join(c.BoxDir, "control"),
		"wherry.secret":                                 filepath.Join(c.BoxDir, "secret"),
	}
}

// properties writes Java's format, in which backslashes, line ends and leading
// blanks of values, and separators in keys, are escaped.
func properties(s map[string]string) string {
	value := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	key := strings.NewReplacer(`\`, `\\`, " ", `\ `, ":", `\:`, "=", `\=`, "#", `\#`, "!", `\!`)
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(s)) {
		v := value.Replace(s[k])
		if strings.HasPrefix(v, " ") {
			v = `\` + v
		}
		var ascii strings.Builder
		for _, r := range key.Replace(k) + "=" + v {
			switch {
			case r < 0x80:
				ascii.WriteRune(r)
			case r > 0xffff:
				r -= 0x10000
				fmt.Fprintf(&ascii, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
			default:
				fmt.Fprintf(&ascii, `\u%04x`, r)
			}
		}
		b.WriteString(ascii.String() + "\n")
	}
	return b.String()
}
