"""The ``basis`` command."""

import os

# before the first model is built: pydantic would look through every installed distribution for plugins, and we use none
# (whoever wants one sets the variable to something else)
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
