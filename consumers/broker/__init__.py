"""The broker, through kombu. The loop and the handlers know none of its kinds."""
