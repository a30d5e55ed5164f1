from <% .Package %>.tables import Tables


def test_writes_below_a_folder_and_reads_back(spark, tmp_path):
    tables = Tables(spark, "main", "churn", table_format="parquet", folder=str(tmp_path))
    tables.write(spark.createDataFrame([(1,), (2,)], ["x"]), "numbers")
    tables.write(spark.createDataFrame([(3,)], ["x"]), "numbers")
    assert [row["x"] for row in tables.read("numbers").collect()] == [3]


def test_names_have_catalog_and_schema(spark):
    assert Tables(spark, "main", "churn").full_name("numbers") == "main.churn.numbers"
