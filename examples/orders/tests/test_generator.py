import json

import pytest

from orders.generator import EVENTS_PER_BATCH, latest, make_batch, write_batch


def revenue_in_cents(orders):
    return sum(
        order["quantity"] * round(order["unit_price"] * 100) for order in orders if order["status"] != "cancelled"
    )


def test_a_batch_is_always_the_same():
    assert make_batch(3) == make_batch(3)
    assert make_batch(3) != make_batch(4)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_every_batch_has_as_many_events(batch):
    events = make_batch(batch)
    assert len(events) == EVENTS_PER_BATCH
    assert len({event["event_id"] for event in events}) == EVENTS_PER_BATCH


def test_some_orders_have_two_events_in_their_batch():
    events = make_batch(1)
    assert len(latest(events)) == 480


def test_second_batch_changes_orders_of_the_first():
    first = latest(make_batch(1))
    second = latest(make_batch(2))
    changed = first.keys() & second.keys()
    assert len(changed) == 80
    assert len(second) == 480
    for order_id in changed:
        assert second[order_id]["updated_at"] > first[order_id]["updated_at"]
        assert second[order_id]["ordered_at"] == first[order_id]["ordered_at"]


def test_writing_twice_leaves_the_files_alone(tmp_path):
    paths = write_batch(tmp_path, 1)
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in paths]
    assert write_batch(tmp_path, 1) == paths
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in paths] == before


def test_files_hold_all_events_as_json_lines(tmp_path):
    write_batch(tmp_path, 2)
    files = sorted((tmp_path / "batch=2").glob("*.json"))
    assert [file.name for file in files] == ["orders-000.json", "orders-001.json"]
    events = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert latest(events) == latest(make_batch(2))
    assert len(events) == EVENTS_PER_BATCH


def test_revenue_after_one_and_two_batches():
    first = latest(make_batch(1))
    both = latest(make_batch(1) + make_batch(2))
    assert (len(first), len(both)) == (480, 880)
    assert revenue_in_cents(first.values()) == 12_771_130
    assert revenue_in_cents(both.values()) == 25_262_760
