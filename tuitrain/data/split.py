"""Which documents are held out. A stable hash decides, so the choice needs no memory, no order and no random numbers.

The same text always falls on the same side: a document that occurs twice never stands in both. A larger share holds out
everything a smaller one did, and more.
"""

from __future__ import annotations

import hashlib

from tuitrain.data.records import Document

_PERSON = b"tuitrain-split"


def is_held_out(document: Document, validation_frac: float) -> bool:
    """Whether the document belongs to the validation side, at a share `validation_frac` of the documents."""
    key = document.split_key or document.text
    digest = hashlib.blake2b(key.encode("utf-8"), digest_size=8, person=_PERSON).digest()
    return int.from_bytes(digest, "big") < validation_frac * 2.0**64
