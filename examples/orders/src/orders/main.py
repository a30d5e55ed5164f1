"""Entry point of the task "generate"."""

import argparse
from collections import Counter
from pathlib import Path

from tabulate import tabulate

from orders.generator import make_batch, write_batch


def main(argv: list[str] | None = None, volumes: Path = Path("/Volumes")) -> None:
    parser = argparse.ArgumentParser(prog="generate", description="Writes a batch of order events to a volume.")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--schema", required=True)
    parser.add_argument("--volume", default="landing")
    args = parser.parse_args(argv)
    if args.batch < 1:
        parser.error("batches count from 1")

    paths = write_batch(Path(volumes) / args.catalog / args.schema / args.volume, args.batch)

    statuses = Counter(event["status"] for event in make_batch(args.batch))
    print(tabulate(sorted(statuses.items()), headers=["status", "events"]))
    print()
    print(tabulate([(str(path), path.stat().st_size) for path in paths], headers=["file", "bytes"]))


if __name__ == "__main__":
    main()
