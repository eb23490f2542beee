"""PET in Bq/ml, or in counts of Philips scanners, to the standardised uptake value by body weight.

SUV = activity (Bq/ml) * weight (g) / dose (Bq); the dose is decayed to the time to which the scanner has
corrected the activity.  Which time that is follows the vendor-neutral pseudo-code of the RSNA QIBA.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SegDLEngine.errors import InputError
from SegDLEngine.images import suv_tags as tags
from SegDLEngine.images.suv_tags import DAY, refuse, tag

if TYPE_CHECKING:
    from pydicom import Dataset

# Beyond this 0.4 % of the dose would be left: no one images that, so the times or the half-life are wrong.
MOST_HALF_LIVES = 8
# The two attributes for the time of the injection may differ by this, in seconds.
SAME_TIME = 60


@dataclass(frozen=True)
class Suv:
    """SUV of one unit of each slice in order (float64), and how it was found: for provenance and for a log.

    Neither names a date, the dose nor the weight.
    """

    factors: np.ndarray
    details: dict[str, Any]
    summary: str


@dataclass(frozen=True)
class _Decay:
    """Seconds from the injection to the reference time of every slice, and in words where they come from."""

    seconds: np.ndarray
    details: dict[str, Any]
    summary: str


def suv_of_series(paths: Sequence[Path], name: str) -> Suv:
    """Factors to SUV of the slices in ``paths``; ``name`` is the series in messages.

    Units BQML need PatientWeight, the dose and, unless the activity is corrected to the injection, half-life
    and times; CNTS need the private factor to SUV or to Bq/ml.  Raises InputError that names the attribute
    which is missing, wrong or contradicts another.
    """
    try:
        headers = {path: tags.read_suv_header(path) for path in dict.fromkeys(paths)}
        return _suv([headers[path] for path in paths])
    except InputError as error:
        raise InputError(
            f"{name} cannot be converted to SUV: {error.text}.", hint=error.hint, code=error.code
        ) from error


def _suv(headers: Sequence[Dataset]) -> Suv:
    units = tags.same(headers, "Units")
    if units not in ("BQML", "CNTS"):
        kind = f" with {tag('SUVType')} {tags.text(headers[0], 'SUVType')}" if units == "GML" else ""
        found = f"is '{units}'{kind}, BQML or CNTS are expected" if units else "is missing"
        raise refuse(f"{tag('Units')} {found}")
    corrected = tags.same(headers, "CorrectedImage", tags.words)
    if corrected and "ATTN" not in corrected:
        raise refuse(
            f"{tag('CorrectedImage')} has no ATTN; the series is not corrected for attenuation",
            hint="Give the attenuation-corrected series.",
        )
    if units == "CNTS":
        direct = _private(headers, tags.PHILIPS_SUV)
        if direct is not None:
            source = tags.private(tags.PHILIPS_SUV)
            details = {"from": units, "factor": _range(direct), "factor_source": source}
            return Suv(direct, details, f"CNTS converted to SUV, factor {direct[0]:.6g} of {source}")
        activity = _private(headers, tags.PHILIPS_ACTIVITY)
        if activity is None:
            raise refuse(
                f"{tag('Units')} is CNTS and neither {tags.private(tags.PHILIPS_SUV)} (SUV factor) nor "
                f"{tags.private(tags.PHILIPS_ACTIVITY)} (activity factor) has a positive number",
                hint="Export the series with its private attributes, or in BQML.",
            )
    else:
        activity = np.ones(len(headers))
    weight, dose = _weight(headers), _dose(headers)
    decay = _decay(headers, corrected)
    half_life = decay.details.get("half_life_s", math.inf)
    factors = activity * weight * 1000 / (dose * np.exp2(-decay.seconds / half_life))
    details = {"from": units, "factor": _range(factors), **decay.details}
    first = f"factor {factors.min():.6g}" + (f" to {factors.max():.6g}" if np.ptp(factors) > 0 else "")
    return Suv(factors, details, f"{units} converted to SUV (body weight), {first}; {decay.summary}")


def _weight(headers: Sequence[Dataset]) -> float:
    tags.same(headers, "PatientWeight")
    return tags.quantity(headers[0], "PatientWeight", "kilograms", 1e-3, 700, "grams or pounds?")


def _dose(headers: Sequence[Dataset]) -> float:
    return tags.quantity(
        tags.injection(headers), "RadionuclideTotalDose", "becquerel", 1e5, 1e11, "MBq or mCi?"
    )


def _decay(headers: Sequence[Dataset], corrected: set[str]) -> _Decay:
    kind = tags.same(headers, "DecayCorrection")
    if kind not in ("START", "ADMIN", "NONE"):
        found = f"is '{kind}', START, ADMIN or NONE are expected" if kind else "is missing"
        raise refuse(f"{tag('DecayCorrection')} {found}")
    if corrected and ("DECY" in corrected) == (kind == "NONE"):
        has = "has" if kind == "NONE" else "has no"
        raise refuse(f"{tag('DecayCorrection')} is {kind} but {tag('CorrectedImage')} {has} DECY")
    if kind == "ADMIN":
        return _Decay(
            np.zeros(len(headers)),
            {"decay_correction": kind, "decay_s": [0.0, 0.0]},
            "the activity is corrected to the injection (DecayCorrection ADMIN)",
        )
    item = tags.injection(headers)
    half_life = tags.quantity(item, "RadionuclideHalfLife", "seconds", 1, 1e7, "minutes?")
    if kind == "START":
        start, source = _scan_start(headers)
        reference = np.full(len(headers), start)
    else:
        reference = np.array([_mean_time(header, half_life) for header in headers])
        source = tag("AcquisitionTime")
    injected, elapsed = _since_injection(item, reference, half_life, source)
    details = {
        "decay_correction": kind,
        "injection": tags.clock(injected),
        "reference": tags.clock(float(reference.min())),
        "reference_source": source,
        "decay_s": _range(elapsed),
        "half_life_s": half_life,
    }
    summary = (
        f"the dose is decayed from {details['injection']} to {details['reference']} ({source}), "
        f"{elapsed.min() / 60:.1f} min (DecayCorrection {kind})"
    )
    return _Decay(elapsed, details, summary)


def _scan_start(headers: Sequence[Dataset]) -> tuple[float, str]:
    """The moment to which DecayCorrection START refers, and the attribute that tells it.

    The SeriesTime, unless it lies after the first acquisition: then the series was made later from another,
    and GE's private start of the scan or the first acquisition counts.
    """
    series = tags.moment(headers[0], "Series")
    acquired = [found for header in headers if (found := tags.moment(header, "Acquisition")) is not None]
    if series is not None and (not acquired or _same_days(series, min(acquired)) <= min(acquired)):
        return series, tag("SeriesTime")
    if tags.GE_SCAN_START in headers[0]:
        start = tags.date_time(str(headers[0][tags.GE_SCAN_START].value))
        if start is not None:
            return start, tags.private(tags.GE_SCAN_START)
    if not acquired:
        raise refuse(f"{tag('SeriesTime')} and {tag('AcquisitionTime')} are missing")
    return min(acquired), tag("AcquisitionTime")


def _mean_time(header: Dataset, half_life: float) -> float:
    """When the activity of an uncorrected frame had its mean over the frame."""
    start = tags.moment(header, "Acquisition")
    if start is None:
        raise refuse(f"{tag('AcquisitionTime')} is missing, which DecayCorrection NONE needs in every slice")
    length = (tags.number(header, "ActualFrameDuration") or 0.0) / 1000
    lived = length * math.log(2) / half_life
    if lived <= 0:
        return start
    return start + math.log(lived / -math.expm1(-lived)) * half_life / math.log(2)


def _since_injection(
    item: Dataset, reference: np.ndarray, half_life: float, source: str
) -> tuple[float, np.ndarray]:
    """The moment of the injection and the seconds from it to every reference time.

    A time without a date is the last such time before the reference: the injection may be before midnight.
    """
    name, dated = "RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime"
    plain, full = tags.text(item, name), tags.text(item, dated)
    if not plain and not full:
        raise refuse(f"{tag(name)} and {tag(dated)} are missing")
    clock, moment = tags.seconds_of_day(plain), tags.date_time(full)
    for value, found, keyword in ((plain, clock, name), (full, moment, dated)):
        if value and found is None:
            raise refuse(f"{tag(keyword)} is '{value}', which is no time")
    if clock is not None and moment is not None:
        apart = abs((clock - moment + DAY / 2) % DAY - DAY / 2)
        if apart > SAME_TIME:
            raise refuse(
                f"{tag(name)} {tags.clock(clock)} contradicts {tag(dated)} {tags.clock(moment)}",
                hint="Remove the wrong one of the two.",
            )
    first = float(reference.min())
    if moment is not None and first >= DAY:
        injected = moment
    else:
        time_of_day = moment if moment is not None else clock
        assert time_of_day is not None
        injected = first - (first - time_of_day) % DAY
    elapsed = reference - injected
    if elapsed.min() < 0 or elapsed.max() > MOST_HALF_LIVES * half_life:
        raise refuse(
            f"the injection ({tag(dated if full else name)}) at {tags.clock(injected)} is "
            f"{elapsed.min() / 60:.0f} min before the scan ({source}) at {tags.clock(first)}, which does not "
            f"agree with {tag('RadionuclideHalfLife')} {half_life:g} s"
        )
    return injected, elapsed


def _same_days(moment: float, other: float) -> float:
    """``moment`` as time of day if only one of the two has a date."""
    return moment % DAY + other // DAY * DAY if (moment < DAY) != (other < DAY) else moment


def _private(headers: Sequence[Dataset], attribute: int) -> np.ndarray | None:
    """The positive private numbers of all slices, None if one lacks it."""
    values = [tags.private_number(header, attribute) for header in headers]
    return np.array(values) if all(value is not None and value > 0 for value in values) else None


def _range(values: np.ndarray) -> list[float]:
    return [float(values.min()), float(values.max())]
