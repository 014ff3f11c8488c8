"""A deployment of dropscribe on real servers, its consumers, and the audit of its results."""
