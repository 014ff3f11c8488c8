"""Real servers, several consumers, many archives, and faults all the while."""
