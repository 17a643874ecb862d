"""Checks the archived forecasts and their scores: each once, bands in order, and each score that of an archived forecast."""

BANDS = ["lower_95", "lower_80", "lower_50", "median", "upper_50", "upper_80", "upper_95"]
QUANTILES = [0.025, 0.10, 0.25, 0.50, 0.75, 0.90, 0.975]
STRETCHES = {3_600: "p_full_1h", 14_400: "p_full_4h", 86_400: "p_full_24h", 259_200: "p_full_3d", 1_209_600: "p_full_14d", 2_592_000: "p_full_30d"}
SECOND = 1_000_000


def check(partitions, rows, report):
    """Checks the forecasts of all partitions."""
    forecasts = {}
    for partition in partitions:
        _forecasts(rows.get((partition.number, "forecasts")), forecasts, report.check("forecasts-once"))
    scored = set()
    for partition in partitions:
        _scores(rows.get((partition.number, "forecast_scores")), forecasts, scored, report.check("forecast-scores"))


def _rows(table):
    for index in range(len(table) if table else 0):
        yield {name: values[index] for name, values in table.columns.items()}


def _forecasts(table, forecasts, check):
    for row in _rows(table):
        event = row["event_id"]
        check.expect(event not in forecasts, f"forecast {event} is there twice")
        forecasts[event] = row
        check.expect(row["made_at"] + row["horizon_s"] * SECOND <= row["time"] < row["made_at"] + (row["horizon_s"] + 1) * SECOND, f"forecast {event}: the horizon is not time − made_at")
        if row["kind"] == "value":
            edges = [row[name] for name in BANDS]
            check.expect(None not in edges and edges == sorted(edges), f"forecast {event}: its bands {edges} are not in order")
        else:
            chances = [row[name] for name in STRETCHES.values()]
            ordered = None not in chances and chances == sorted(chances) and 0 <= chances[0] and chances[-1] <= 1
            check.expect(ordered, f"forecast {event}: its probabilities {chances} are not in order")


def _scores(table, forecasts, scored, check):
    for row in _rows(table):
        key = (row["forecast_id"], row["time"])
        check.expect(key not in scored, f"the score of forecast {key} is there twice")
        scored.add(key)
        forecast = forecasts.get(row["forecast_id"])
        if not check.expect(forecast is not None, f"the score of forecast {row['forecast_id']} is of none that is archived"):
            continue
        same = all(row[name] == forecast[name] for name in ["series_id", "kind", "made_at", "method"])
        check.expect(same, f"the score of forecast {row['forecast_id']} is not of its series, kind, time or method")
        if row["kind"] == "value":
            _value(row, forecast, check)
        else:
            _full(row, forecast, check)


def _value(row, forecast, check):
    observed = row["observed"]
    loss = sum(max(q * (observed - forecast[edge]), (q - 1) * (observed - forecast[edge])) for q, edge in zip(QUANTILES, BANDS)) / len(BANDS)
    name = f"the score of forecast {row['forecast_id']}"
    check.expect(abs(row["pinball_loss"] - loss) <= 1e-9 * max(1.0, abs(loss)), f"{name}: pinball loss {row['pinball_loss']}, computed {loss}")
    for share in (50, 80, 95):
        inside = forecast[f"lower_{share}"] <= observed <= forecast[f"upper_{share}"]
        check.expect(row[f"covered_{share}"] == inside, f"{name}: covered_{share} is {row[f'covered_{share}']}")


def _full(row, forecast, check):
    name = f"the score of forecast {row['forecast_id']} within {row['horizon_s']} s"
    expected = forecast.get(STRETCHES.get(row["horizon_s"]))
    check.expect(row["probability"] == expected, f"{name}: probability {row['probability']}, forecast {expected}")
    brier = (row["probability"] - row["full"]) ** 2
    check.expect(abs(row["brier"] - brier) <= 1e-12, f"{name}: Brier score {row['brier']}, computed {brier}")
