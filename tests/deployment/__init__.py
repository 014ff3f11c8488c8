"""The pipeline on real servers, whichever kind of store it has."""
