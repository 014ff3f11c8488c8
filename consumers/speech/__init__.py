"""From sound to words: Whisper behind one Protocol, and where its weights are."""
