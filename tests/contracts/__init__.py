"""What several implementations of one Protocol have to keep, fake and real alike."""
