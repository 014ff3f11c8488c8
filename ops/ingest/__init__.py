"""Getting archives into the bucket: `drop` from this machine, `transfer` from others."""
