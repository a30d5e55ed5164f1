"""Writes sample customers to the lake, unless there are customers already.

Stands for the system that delivers customers: remove it when that does.
"""

import argparse
import sys
from pathlib import Path

from pyspark.sql import SparkSession


def main(raw_path: str) -> None:
    from <% .Package %>.sample import make_customers

    if not raw_path:
        print("no lake in this target: the pipeline makes its own sample")
        return
    spark = SparkSession.builder.getOrCreate()
    spark.createDataFrame(make_customers()).write.mode("ignore").parquet(raw_path)
    print(f"{spark.read.parquet(raw_path).count()} customers in {raw_path}")


if __name__ == "__main__":
    sys.path.append(str(Path(sys.argv[0]).resolve().parent.parent / "src"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw-path", default="")
    main(parser.parse_args().raw_path)
