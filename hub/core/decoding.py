"""What reading JSON or MessagePack that somebody else wrote may raise.

msgspec lets bytes that are not UTF-8 out as Python's own error, and deep nesting as a RecursionError; who catches its
errors alone turns such input into a failure of the hub.
"""

import msgspec

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
