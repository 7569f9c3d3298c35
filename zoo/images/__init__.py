"""Picture files: read upright, in sRGB, with alpha and 16 bits kept; written beside the target and moved into place."""

from zoo.images.picture import Picture, to_8_bit, to_pil
from zoo.images.reading import MAX_PIXELS, READABLE_SUFFIXES, from_pil, picture_of, read
from zoo.images.writing import output_suffix, write

__all__ = [
    "MAX_PIXELS",
    "READABLE_SUFFIXES",
    "Picture",
    "from_pil",
    "output_suffix",
    "picture_of",
    "read",
    "to_8_bit",
    "to_pil",
    "write",
]
