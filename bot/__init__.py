"""The doors people speak through: one command tree, carried to the shell now and to chat platforms beside it.

Nothing here knows the hub's inside. Everything a command does is one action or one view of the hub's HTTP API.
"""
