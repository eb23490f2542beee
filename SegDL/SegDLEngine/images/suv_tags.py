"""The DICOM attributes that an SUV is computed from; what is missing or wrong is refused by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegDLEngine.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

DAY = 86400.0

# Philips, "Philips PET Private Group": SUV, and Bq/ml, of one rescaled count.
PHILIPS_SUV, PHILIPS_ACTIVITY = 0x70531000, 0x70531009
# GE, "GEMS_PETD_01": start of the scan.
GE_SCAN_START = 0x0009100D

# Nothing else of these headers is read, so that no name or birth date gets into memory.
SUV_TAGS: list[Any] = [
    "SOPClassUID",
    "Units",
    "SUVType",
    "CorrectedImage",
    "DecayCorrection",
    "PatientWeight",
    "RadiopharmaceuticalInformationSequence",
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "ActualFrameDuration",
    0x00090010,
    GE_SCAN_START,
    0x70530010,
    PHILIPS_SUV,
    PHILIPS_ACTIVITY,
]


def read_suv_header(path: Path) -> Dataset:
    """The attributes SUV_TAGS of a DICOM file."""
    import pydicom

    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=SUV_TAGS, force=True)


def tag(keyword: str) -> str:
    """'PatientWeight (0010,1030)'."""
    from pydicom.datadict import tag_for_keyword

    number = tag_for_keyword(keyword) or 0
    return f"{keyword} ({number >> 16:04x},{number & 0xFFFF:04x})"


def private(number: int) -> str:
    """'the private attribute (7053,1000)'."""
    return f"the private attribute ({number >> 16:04x},{number & 0xFFFF:04x})"


def refuse(
    reason: str, hint: str = "Correct the header, or give a PET volume that is already in SUV."
) -> InputError:
    """The error for a series that cannot become SUV; the series is named by who catches it."""
    return InputError(reason, hint=hint, code="suv")


def text(header: Dataset, keyword: str) -> str:
    """The attribute as upper-case text, '' if it is missing or empty."""
    value = header.get(keyword)
    return "" if value is None else str(value).strip().upper()


def words(header: Dataset, keyword: str) -> set[str]:
    """The values of an attribute with one or several values."""
    value = header.get(keyword)
    several = [value] if isinstance(value, str) or value is None else list(value)
    return {str(item).strip().upper() for item in several if item is not None and str(item).strip()}


def same(headers: Sequence[Dataset], keyword: str, read: Callable[[Dataset, str], Any] = text) -> Any:
    """The value that all slices share."""
    first = read(headers[0], keyword)
    for header in headers[1:]:
        other = read(header, keyword)
        if other != first:
            raise refuse(f"{tag(keyword)} differs between the slices: {first} and {other}")
    return first


def number(header: Dataset, keyword: str) -> float | None:
    """The attribute as a number, None if it is missing, empty or none."""
    return _number(header.get(keyword))


def private_number(header: Dataset, attribute: int) -> float | None:
    """A private attribute as a number, None if it is missing or none."""
    return _number(header[attribute].value) if attribute in header else None


def quantity(header: Dataset, keyword: str, unit: str, lowest: float, highest: float, remark: str) -> float:
    """A positive number within plausible limits; ``remark`` says what to suspect beyond them."""
    if header.get(keyword) in (None, ""):
        raise refuse(f"{tag(keyword)} is missing")
    value = number(header, keyword)
    if value is None or not value > 0:
        shown = header.get(keyword) if value is None else f"{value:g}"
        raise refuse(f"{tag(keyword)} is '{shown}', not a positive number of {unit}")
    if not lowest <= value <= highest:
        raise refuse(f"{tag(keyword)} is {value:g}, which cannot be {unit} ({remark})")
    return value


def injection(headers: Sequence[Dataset]) -> Dataset:
    """The one item that describes the injection."""
    name = "RadiopharmaceuticalInformationSequence"
    items = headers[0].get(name) or []
    if len(items) != 1:
        count = f"has {len(items)} items, one injection is expected" if items else "is missing"
        raise refuse(f"{tag(name)} {count}")
    return items[0]


def moment(header: Dataset, prefix: str) -> float | None:
    """Seconds from an unknown day, or of the day where the date is missing, of prefix + Date and Time."""
    clock = text(header, f"{prefix}Time")
    if not clock:
        return None
    seconds = seconds_of_day(clock)
    if seconds is None:
        raise refuse(f"{tag(f'{prefix}Time')} is '{clock}', not a time of day")
    calendar = text(header, f"{prefix}Date")
    days = _days(calendar) if calendar else 0.0
    if days is None:
        raise refuse(f"{tag(f'{prefix}Date')} is '{calendar}', not a date")
    return days * DAY + seconds


def date_time(value: str) -> float | None:
    """Seconds of a DICOM date-time, None if it is none; the time zone counts as that of all other times."""
    found = re.fullmatch(r"(\d{8})(\d{2,6}(?:\.\d*)?)(?:[+-]\d{4})?", value.strip())
    if not found:
        return None
    days, seconds = _days(found[1]), seconds_of_day(found[2])
    return None if days is None or seconds is None else days * DAY + seconds


def seconds_of_day(value: str) -> float | None:
    """Seconds from midnight of 'HHMMSS.ffffff', shorter, or with the colons of old files; else None."""
    found = re.fullmatch(r"(\d{2})(?::?(\d{2})(?::?(\d{2}(?:\.\d*)?))?)?", value.strip())
    if not found:
        return None
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds if hours < 24 and minutes < 60 and seconds < 61 else None


def clock(seconds: float) -> str:
    """'HH:MM:SS' of a moment, without its day."""
    whole = round(seconds) % int(DAY)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _days(value: str) -> float | None:
    found = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", value.strip())
    try:
        return float(date(*map(int, found.groups())).toordinal()) if found else None
    except ValueError:
        return None


def _number(value: Any) -> float | None:
    try:
        return float(value.decode("ascii").strip(" \0") if isinstance(value, bytes) else value)
    except (TypeError, ValueError):
        return None
