"""What the name of a file, channel or series says: which input of the card it is, or that it is a mask."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from SegDLEngine.models.card import ModelCard

IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")

_TAGS = {
    "CT": "ct cect cta",
    "PET": "pt pet suv fdg",
    "T1c": "t1c t1ce t1gd t1cgd t1post t1contrast t1wce t1gad",
    "T1": "t1 t1w t1n t1weighted t1native",
    "FLAIR": "flair fla t2f t2flair",
    "T2": "t2 t2w t2weighted",
}
_SEQUENCES = ("T1c", "T1", "FLAIR", "T2")
_TAG_OF = {word: tag for tag, words in _TAGS.items() for word in words.split()}
# Words that mean a mask wherever they stand, and words that do so only in a name without a modality.
_MASK = {"labels", "label", "seg", "segmentation", "segmentations", "mask", "masks", "gt", "groundtruth",
         "gtv", "gtvp", "gtvt", "gtvn", "roi", "annotation", "ot", "otmulticlass"}  # fmt: skip
_FINDING = {"tumor", "tumour", "tumors", "tumours", "lesion", "lesions", "infection"}
# Words that distinguish nothing.
_NEUTRAL = {"image", "img", "volume", "scan", "mr", "mri", "w", "weighted"}


def stem(name: str) -> str:
    """A file name without the ending of an image format."""
    lower = name.lower()
    for ending in IMAGE_ENDINGS:
        if lower.endswith(".seg" + ending):
            return name[: -len(ending) - 4] + "_seg"
        if lower.endswith(ending):
            return name[: -len(ending)]
    return name


def is_image_file(name: str) -> bool:
    """True for the name of an image file; the hidden files that file managers leave are none."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_ENDINGS)


def composed(text: str) -> str:
    """One spelling of letters with marks: a folder that a Mac has copied spells 'ü' with two characters."""
    return unicodedata.normalize("NFC", text)


def words(text: str) -> list[str]:
    """Lower-case words of letters and digits."""
    return re.findall(r"[a-z0-9]+", text.lower())


def modality_tag(text: str) -> str:
    """CT, PET, T1, T1c, T2 or FLAIR, as far as exactly one is named; else ''."""
    found, rest = [], words(text)
    while rest:
        pair = "".join(rest[:2])
        length = 2 if len(rest) > 1 and pair in _TAG_OF else 1
        word = "".join(rest[:length])
        if word in _TAG_OF:
            found.append(_TAG_OF[word])
        rest = rest[length:]
    return found[0] if len(set(found)) == 1 else ""


def is_mask(text: str) -> bool:
    """True if a file of this stem is a reference segmentation by its name."""
    own = set(words(text))
    return bool(own & _MASK) or (bool(own & _FINDING) and not modality_tag(text))


def remarks(text: str) -> int:
    """How many words say more than the modality or that it is a mask: 'ct_small' has one."""
    return sum(
        1 for word in words(text) if word not in _NEUTRAL and word not in _MASK and word not in _TAG_OF
    )


def input_tag(card: ModelCard, name: str) -> str:
    """The tag that files of the input ``name`` have."""
    entry = next(entry for entry in card.inputs if entry["name"] == name)
    modality = {"CT": "CT", "PT": "PET"}.get(entry["modality"], "")
    return modality_tag(name) or modality or name


def input_for(card: ModelCard, text: str) -> str | None:
    """The input of the card that a file, channel or series of this name is; None if that is not clear."""
    for name in card.input_names:
        if words(name) == words(text):
            return name
    tag = modality_tag(text)
    if tag in _SEQUENCES or (not tag and {"mr", "mri"} & set(words(text))):
        # An input that is any MR.
        general = [entry["name"] for entry in card.inputs if entry["modality"] == "MR"]
        if len(general) == 1 and input_tag(card, general[0]) not in _SEQUENCES:
            return general[0]
    fitting = [name for name in card.input_names if tag and input_tag(card, name) == tag]
    return fitting[0] if len(fitting) == 1 else None


def plainest(texts: Iterable[str]) -> list[str]:
    """Those with the fewest remarks; more than one means that the names do not decide."""
    candidates: Sequence[str] = sorted(texts)
    fewest = min((remarks(stem(text)) for text in candidates), default=0)
    return [text for text in candidates if remarks(stem(text)) == fewest]
