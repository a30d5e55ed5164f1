"""Attach as a task does: the offer of the driver comes in WHERRY_OFFER instead of from an agent."""

import json
import os
import sys
import time


class Control:
    def ask(self, op, **fields):
        return {"spark": json.loads(os.environ["WHERRY_OFFER"])}


import pandas  # noqa: E402,F401  A zygote has imported these before.
import pyarrow  # noqa: E402,F401
import pyspark.sql.functions  # noqa: E402,F401
from delta.tables import DeltaTable  # noqa: E402,F401

from wherry_runtime import spark_attach  # noqa: E402

started = time.perf_counter()
spark = spark_attach.attach({}, Control())
attach_ms = (time.perf_counter() - started) * 1000
spark.range(10).count()
first_ms = (time.perf_counter() - started) * 1000 - attach_ms


def report(name, ok, ms, result):
    print(json.dumps({"name": name, "ok": bool(ok), "ms": round(ms), "result": str(result)[:600]}), flush=True)


report("attach", True, attach_ms, "")
report("first count", True, first_ms, "")


def check(name, action, expect=None):
    """Run action; its rows, as a list of tuples, must be what is expected, if anything is."""
    begun = time.perf_counter()
    try:
        result = action()
        if hasattr(result, "collect"):
            result = [tuple(r) for r in result.collect()]
        ok = expect is None or (expect(result) if callable(expect) else result == expect)
    except Exception as e:  # noqa: BLE001
        ok, result = False, f"{type(e).__name__}: {e}"
    report(name, ok, (time.perf_counter() - begun) * 1000, result)


def sql(text, expect=None, **arguments):
    check(text, lambda: spark.sql(text, **arguments), expect)


def refused(text, *words, **arguments):
    """The statement must fail with a message that has the words."""
    try:
        spark.sql(text, **arguments).collect()
        report(text, False, 0, "it was not refused")
    except Exception as e:  # noqa: BLE001
        report(text, all(w in str(e) for w in words), 0, e)


for script in sys.argv[1:]:
    with open(script) as f:
        exec(compile(f.read(), script, "exec"), globals())
