"""What can go wrong between dropscribe and its broker."""

from consumers.errors import TransientError


class BrokerLostError(TransientError):
    """The broker is away or refuses; deliveries in hand will be delivered again."""


class MissingQueueError(TransientError):
    """A queue does not exist until bootstrap declares it."""
