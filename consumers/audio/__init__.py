"""Turns untrusted media files into Opus.

``sniff`` recognises a file, ``pool.TranscoderPool`` transcodes it in a confined child
process, and ``decode.decode_channels`` reads our Opus back. Import the modules themselves:
the child must not load modules that only its parent needs.
"""
