"""The sweep: it compares the bucket with the rows, and sends lost events again.

A sweep lists the bucket once, runs one or two queries per page, and holds one page in
memory. It is safe to run at any time, on any number of hosts.
"""
