"""Generated PET/CT: a part of a body with tumours, as CT in HU and FDG-PET in SUV."""

from SegDLTrainingLib.synthesis.petct.case import GENERATOR_VERSION, make_case

__all__ = ["GENERATOR_VERSION", "make_case"]
