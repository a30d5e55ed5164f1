"""SQL notebooks' own statements for widgets."""

import pytest

from wherry_runtime import sqltext


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ('CREATE WIDGET TEXT catalog DEFAULT "main"', ("text", "catalog", "main", "")),
        (
            "create widget dropdown `a b` default 'x' choices SELECT DISTINCT s FROM t",
            ("dropdown", "a b", "x", "SELECT DISTINCT s FROM t"),
        ),
        ("-- why\nCREATE WIDGET TEXT n DEFAULT ''", ("text", "n", "", "")),
        ("REMOVE WIDGET catalog", ("remove", "catalog", "", "")),
    ],
)
def test_widget(statement, expected):
    assert tuple(sqltext.widget(statement)) == expected


@pytest.mark.parametrize("statement", ["SELECT 1", "CREATE TABLE widget (a int)", "DROP TABLE t"])
def test_no_widget(statement):
    assert sqltext.widget(statement) is None
