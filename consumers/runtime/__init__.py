"""How a delivery is taken, worked on and settled.

The path of a delivery, from `Inbox.drain` to `Inbox.settle`:

1. `Loop` drains the inbox on the thread that owns the connection, and submits the
   deliveries to the `WorkerPool`. That thread does no work: long work would starve the
   connection's heartbeats.
2. A thread of the pool takes a group of them to its `Worker`, which decodes each into
   events and calls the route's `Handler`. No such thread does I/O with the broker.
3. `retry_policy` turns each event's error, or its absence, into a verdict; the worker
   writes the log line and returns a `Settlement` for each delivery.
4. The pool wakes the loop, which settles each delivery by the one broker action that its
   verdict means: ack, publish with a delay, or publish among the dead letters.

Nothing escapes from a callback of kombu's or from a thread: kombu takes a TimeoutError
for an idle tick, and any other OSError for a lost connection.
"""
