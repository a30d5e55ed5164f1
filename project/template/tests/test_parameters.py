from types import SimpleNamespace

from <% .Package %>.parameters import read_parameters


class Widgets:
    """As dbutils.widgets: what a job passed, else the default, as text."""

    def __init__(self, passed):
        self.values = dict(passed)

    def text(self, name, default):
        self.values.setdefault(name, default)

    def get(self, name):
        return self.values[name]


def test_variables_of_the_cell():
    assert read_parameters({"rows": 10, "other": 1}, "rows") == SimpleNamespace(rows=10)


def test_job_parameters_come_first_and_keep_the_type():
    namespace = {"rows": 10, "schema": "a", "dbutils": SimpleNamespace(widgets=Widgets({"rows": "20"}))}
    assert read_parameters(namespace, "rows", "schema") == SimpleNamespace(rows=20, schema="a")
