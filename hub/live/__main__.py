"""`python -m hub.live`: the live process on its own, with settings from the environment."""

import os

from hub.core.parent import die_with_parent
from hub.core.settings import load
from hub.live.app import serve

if __name__ == "__main__":
    die_with_parent()
    serve(load(os.environ))
