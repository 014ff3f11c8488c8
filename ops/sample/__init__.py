"""The sample archive that ``dropscribe try`` drops, and the script that makes it."""
