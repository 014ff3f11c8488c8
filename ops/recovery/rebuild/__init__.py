"""Restoring a batch's rows from the bucket alone.

The rows of the batch and its recordings come from the manifest, those of transcripts and
verdicts from their documents, and the completion from ``.complete.json``.

The bucket does not hold everything: lost are the times at which rows were first written and
recordings were done, and the reasons of dead letters. For an archive that was not read to
its end, rejected members are lost, too, until it is read again.
"""
