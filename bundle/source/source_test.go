package source_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/bundle/source"
)

func TestScan(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a.py", `catalog = "main"
table = f"{catalog}.sales.orders"
spark.read.csv(f"/Volumes/{catalog}/raw/files/x.csv")
spark.table(f"{table}").write.saveAsTable("main.gold.daily")
from pyspark.sql import functions
# MAGIC SELECT * FROM main.sales.customers JOIN b.c ON 1
# spark.table("not.a.reference")
dbutils.secrets.get("kv", "password"); dbutils.secrets.get(scope="kv", key="user")
display(spark.read.json("/databricks-datasets/x"), spark.table("samples.nyc.trips"))
# MAGIC %scala
spark.table(f"{unknown}.x.y")
`, `3:1 volume main.raw.files
4:1 table main.sales.orders
4:1 table main.gold.daily write
6:23 table main.sales.customers
6:49 table b.c
8:9 secret kv/password
8:48 secret kv/user
9:26 dataset /databricks-datasets/x
9:65 dataset samples.nyc.trips
10:1 unsupported cells in Scala (%scala)
`},
		{"b.sql", "USE CATALOG lab;USE CATALOG IDENTIFIER(:c);\nCREATE TABLE IF NOT EXISTS lab.x.t AS SELECT 1;\nMERGE INTO `lab`.x.u USING v\n", `1:13 catalog lab
2:28 table lab.x.t write
3:12 table lab.x.u write
`},
		{"c.ipynb", `{
 "cells": [
  {"cell_type": "markdown", "source": ["/Volumes/a/b/c"]},
  {"cell_type": "code",
   "source": [
    "x = 1\n",
    "open(\"/Volumes/a/b/d/f.txt\")"
   ]}
 ]
}`, "7:7 volume a.b.d\n"},
	} {
		var got strings.Builder
		for _, r := range source.Scan(tt.name, []byte(tt.text)) {
			fmt.Fprintf(&got, "%d:%d %s %s", r.Line, r.Column, r.Kind, r.Name)
			if r.Write {
				got.WriteString(" write")
			}
			got.WriteString("\n")
		}
		if got.String() != tt.want {
			t.Errorf("%s: got\n%swant\n%s", tt.name, got.String(), tt.want)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add("a.py", "x = \"/Volumes/a/b/c\"\nf\"{x}\"")
	f.Add("a.ipynb", `{"cells":[{"cell_type":"code","source":["%r\n"]}]}`)
	f.Fuzz(func(_ *testing.T, name, text string) { source.Scan(name, []byte(text)) })
}
