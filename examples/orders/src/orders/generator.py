"""Makes the order events of a batch. The same batch number always gives the same events.

A batch covers one week. It holds new orders, a second event for some of them, and (from the second batch on) events
that change orders of the batch before.
"""

import json
import random
from datetime import datetime, timedelta
from pathlib import Path

EVENTS_PER_BATCH = 500
FOLLOW_UPS = 20
CHANGES = 80
FILES_PER_BATCH = 2

FIRST_DAY = datetime(2025, 3, 3)
DAYS_PER_BATCH = 7

# Prices in cents.
PRODUCTS = {
    "notebook": 450,
    "desk lamp": 3990,
    "office chair": 18900,
    "monitor": 24950,
    "keyboard": 7495,
    "coffee mug": 1275,
}


def make_batch(batch: int) -> list[dict]:
    """All events of a batch, oldest first."""
    events = _events_of_new_orders(batch)
    if batch > 1:
        events += _changes_of_previous_batch(batch)
    events.sort(key=lambda event: (event["updated_at"], event["event_id"]))
    return events


def write_batch(directory: Path, batch: int) -> list[Path]:
    """Writes the events of a batch as JSON lines into `directory`/batch=<n>. Writing a batch again changes nothing."""
    folder = Path(directory) / f"batch={batch}"
    folder.mkdir(parents=True, exist_ok=True)

    events = make_batch(batch)
    paths = []
    for part in range(FILES_PER_BATCH):
        path = folder / f"orders-{part:03d}.json"
        lines = "".join(json.dumps(event) + "\n" for event in events[part::FILES_PER_BATCH])
        if not path.exists() or path.read_text(encoding="utf-8") != lines:
            with open(path, "w", encoding="utf-8") as file:
                file.write(lines)
        paths.append(path)
    return paths


def latest(events: list[dict]) -> dict[str, dict]:
    """The newest event of every order."""
    newest = {}
    for event in sorted(events, key=lambda event: (event["updated_at"], event["event_id"])):
        newest[event["order_id"]] = event
    return newest


def _events_of_new_orders(batch: int) -> list[dict]:
    rng = random.Random(1_000 + batch)
    new_orders = EVENTS_PER_BATCH - FOLLOW_UPS - (CHANGES if batch > 1 else 0)
    first_day = FIRST_DAY + timedelta(days=DAYS_PER_BATCH * (batch - 1))

    events = []
    for number in range(1, new_orders + 1):
        product = _pick(rng, list(PRODUCTS))
        # The shop takes orders from 8 to 20 o'clock (UTC).
        ordered_at = first_day + timedelta(
            days=_below(rng, DAYS_PER_BATCH), hours=8 + _below(rng, 12), minutes=_below(rng, 60)
        )
        events.append(
            {
                "event_id": f"{batch}-{number:04d}-new",
                "order_id": f"B{batch:03d}-{number:04d}",
                "customer_id": 1 + _below(rng, 150),
                "product": product,
                "quantity": 1 + _below(rng, 5),
                "unit_price": PRODUCTS[product] / 100,
                "status": "placed",
                "ordered_at": _iso(ordered_at),
                "updated_at": _iso(ordered_at),
            }
        )

    for order in _sample(rng, events, FOLLOW_UPS):
        moment = datetime.fromisoformat(order["updated_at"].rstrip("Z")) + timedelta(minutes=5 + _below(rng, 180))
        events.append(_change(rng, order, f"{order['event_id'].removesuffix('-new')}-follow-up", moment))
    return events


def _changes_of_previous_batch(batch: int) -> list[dict]:
    rng = random.Random(2_000 + batch)
    first_day = FIRST_DAY + timedelta(days=DAYS_PER_BATCH * (batch - 1))
    previous = list(latest(_events_of_new_orders(batch - 1)).values())
    previous.sort(key=lambda order: order["order_id"])

    events = []
    for number, order in enumerate(_sample(rng, previous, CHANGES), start=1):
        moment = first_day + timedelta(hours=8 + _below(rng, 12), minutes=_below(rng, 60))
        events.append(_change(rng, order, f"{batch}-{number:04d}-change", moment))
    return events


def _change(rng: random.Random, order: dict, event_id: str, moment: datetime) -> dict:
    """A new event of an order: cancelled, shipped, or another quantity."""
    changed = {**order, "event_id": event_id, "updated_at": _iso(moment)}
    kind = _pick(rng, ["cancelled", "shipped", "quantity"])
    if kind == "quantity":
        changed["quantity"] = order["quantity"] + 1 + _below(rng, 3)
    else:
        changed["status"] = kind
    return changed


# Only Random.random() is sure to give the same numbers in every Python version.


def _below(rng: random.Random, n: int) -> int:
    return int(rng.random() * n)


def _pick(rng: random.Random, items: list):
    return items[_below(rng, len(items))]


def _sample(rng: random.Random, items: list, count: int) -> list:
    rest = list(items)
    return [rest.pop(_below(rng, len(rest))) for _ in range(count)]


def _iso(moment: datetime) -> str:
    return moment.isoformat() + "Z"
