"""Writing a batch's rows again from the bucket alone.

The manifest gives the batch's row and its recordings', the transcripts give
theirs, and ``.complete.json`` says that the batch was completed.

What the bucket does not know is lost: when a row was first written, when a
recording was done, and why a dead letter is dead. Of an archive that was not
read to its end it does not know which members were rejected so far, either:
who reads it again finds that out again.
"""
