"""Sample customers for development and tests: the same number of rows always gives the same data."""

import math
import random

import pandas as pd

CONTRACTS = ["monthly", "yearly", "two_years"]
PAYMENTS = ["card", "transfer", "invoice"]


def make_customers(rows: int = 2000, seed: int = 7) -> pd.DataFrame:
    """Customers of a subscription service, and whether each left in the month after."""
    rng = random.Random(seed)
    return pd.DataFrame([_customer(rng, number) for number in range(1, rows + 1)])


def _customer(rng: random.Random, number: int) -> dict[str, object]:
    contract = CONTRACTS[min(int(rng.random() ** 1.5 * 3), 2)]
    tenure = 1 + int(rng.random() ** 2 * 72)
    charge = round(15 + 85 * rng.random(), 2)
    calls = int(-math.log(1 - rng.random()) * 1.5)
    inactive = int(rng.random() ** 2 * 60)
    risk = -2.2 + 0.55 * calls + 0.04 * inactive + 0.02 * (charge - 50) - 0.04 * tenure
    risk += {"monthly": 1.2, "yearly": -0.4, "two_years": -1.5}[contract]
    return {
        "customer_id": f"C{number:06d}",
        "contract": contract,
        "payment": PAYMENTS[int(rng.random() * 3)],
        "tenure_months": tenure,
        "monthly_charge": charge,
        "support_calls": calls,
        "days_inactive": inactive,
        "churned": int(rng.random() < 1 / (1 + math.exp(-risk))),
    }
