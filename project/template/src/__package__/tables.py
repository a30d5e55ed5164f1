"""Where the project's tables are."""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class Tables:
    """The tables of a schema in Unity Catalog; or, on a machine without a catalog, those below a folder."""

    spark: SparkSession
    catalog: str
    schema: str
    table_format: str = "delta"
    folder: str = ""

    def read(self, name: str) -> DataFrame:
        """The table of that name."""
        if self.folder:
            return self.spark.read.format(self.table_format).load(f"{self.folder}/{name}")
        return self.spark.table(self.full_name(name))

    def write(self, rows: DataFrame, name: str) -> None:
        """Replaces the table of that name with the rows."""
        writer = rows.write.format(self.table_format).mode("overwrite").option("overwriteSchema", "true")
        if self.folder:
            writer.save(f"{self.folder}/{name}")
        else:
            writer.saveAsTable(self.full_name(name))

    def full_name(self, name: str) -> str:
        """The name with catalog and schema."""
        return f"{self.catalog}.{self.schema}.{name}"
