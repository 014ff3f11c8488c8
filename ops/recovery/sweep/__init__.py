"""The sweep: bucket listing against rows; what should have moved and has not is told again.

It makes lost notifications harmless. It needs a listing of the bucket and a
query or two per page of it, holds one page at a time, and can be run at any
time, by any number of hosts.
"""
