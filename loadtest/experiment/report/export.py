"""report.json: every figure of every cell and arm, for programs and for the next run.

Times are in seconds, except `cpu_us`. Unknown figures are null. Figures of an arm whose generator
was the limit are included, with `generator_bound` set to true beside them, and so are latencies of
too few clients, with `partly_served`.
"""

import json
from dataclasses import asdict
from math import isfinite
from typing import Any

from loadtest.experiment.report.losses import Loss, losses
from loadtest.experiment.report.summary import (
    PERCENTILES,
    ArmOutcome,
    Measured,
    Spread,
    Summary,
    known,
)
from loadtest.experiment.report.targets import targets
from loadtest.experiment.report.verdict import sentences


def exported(summary: Summary) -> str:
    """The text of the file."""
    run = summary.run
    content = {
        "plan": run.plan,
        "started": run.started,
        "commit": run.commit,
        "rounds": run.rounds,
        "ended": summary.ended,
        "planned": summary.planned,
        "tried": summary.tried,
        "machine": run.machine,
        "versions": run.versions,
        "verdict": [asdict(one) for one in sentences(summary)],
        "targets": [asdict(one) for one in targets(summary)],
        "losses": [_lost(one) for one in losses(summary)],
        "cells": [_cell(one) for one in summary.cells],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _lost(one: Loss) -> dict[str, Any]:
    content = {name: getattr(one, name) for name in ("figure", "ours", "arm", "theirs")}
    ratio = one.ratio if isfinite(one.ratio) else None
    return {"cell": one.cell.cell.name, **content, "ratio": ratio, "rounds": one.rounds}


def _cell(one: Measured) -> dict[str, Any]:
    cell = asdict(one.cell)
    return cell | {"arms": {arm: _outcome(outcome) for arm, outcome in one.outcomes.items()}}


def _outcome(outcome: ArmOutcome) -> dict[str, Any]:
    names = dict.fromkeys(name for sample in outcome.samples for name in sample.values)
    return {
        "tried": outcome.tried,
        "measured": len(outcome.samples),
        "noisy": outcome.noisy,
        "generator_bound": outcome.generator_bound,
        "out_of_service": outcome.out_of_service,
        "served": outcome.served.share if outcome.served else None,
        "served_exact": outcome.served.exact if outcome.served else None,
        "unserved": outcome.unserved,
        "failures": outcome.failures,
        "values": {name: _spread(outcome.recorded(name)) for name in names},
        "latencies": {name: _latencies(outcome, name) for name in outcome.latencies},
    }


def _spread(spread: Spread | None) -> dict[str, Any] | None:
    if spread is None:
        return None
    return {
        "median": spread.median,
        "least": spread.least,
        "most": spread.most,
        "rounds": list(spread.values),
    }


def _latencies(outcome: ArmOutcome, name: str) -> dict[str, Any]:
    merged = outcome.latencies[name]
    return {
        "count": merged.count,
        "partly_served": outcome.partly_served(name),
        "mean": merged.mean if merged.count else None,
        **{place: known(merged, share) for place, share in PERCENTILES.items()},
        "longest": merged.longest,
        "p99_of_rounds": _spread(outcome.recorded_of_rounds(name, 0.99)),
    }
