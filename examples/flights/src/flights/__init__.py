"""Predict late arrivals of flights out of New York."""

LATE_MINUTES = 15
"""A flight is late when it arrives more than this many minutes after its plan."""

CATEGORICAL = ["carrier", "origin", "dest"]
NUMERIC = [
    "month",
    "day_of_week",
    "hour_sin",
    "hour_cos",
    "distance",
    "plane_age",
    "seats",
    "temp",
    "wind_speed",
    "visib",
    "precip",
    "carrier_late_rate",
    "previous_delay",
]
FEATURES = CATEGORICAL + NUMERIC
LABEL = "late"
KEYS = ["flight_id", "time_hour"]
