"""Speech recognition: Whisper behind a Protocol, and its weights."""
