"""One hostile media file in, Opus out.

``sniff`` says what a file is, ``pool.TranscoderPool`` turns sound into Opus in
confined child processes, ``decode.decode_opus`` reads our Opus back. Import the
modules themselves: the child must not load what only its parent needs.
"""
