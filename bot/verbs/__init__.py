"""The commands, one file a noun. Each is a few lines: what it asks of the hub, and the card it answers with."""
