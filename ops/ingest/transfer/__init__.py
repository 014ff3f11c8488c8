"""Recordings and archives of other machines, over SSH into the bucket.

A file passes three states, each of which survives the end of the process: *staging*
(it is being read into a file here), *staged* (it is here, whole and verified) and *sent*
(the store has confirmed it). The ledger records them; see `ops.ingest.transfer.ledger`.
"""
