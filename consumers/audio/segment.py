"""pydub, imported without its warnings."""

from __future__ import annotations

import warnings

__all__ = ["AudioSegment", "ratio_to_db"]

with warnings.catch_warnings(action="ignore"):
    # pydub looks for an ffmpeg binary, which nothing here needs, uses audioop, which is
    # deprecated in Python 3.11 and 3.12, and has unescaped patterns.
    from pydub import AudioSegment
    from pydub.utils import ratio_to_db
