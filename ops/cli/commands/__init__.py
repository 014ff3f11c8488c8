"""The subcommands of ``dropscribe``, a module each."""
